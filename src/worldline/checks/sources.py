"""Who found that a check matters."""

__all__ = ["ATHALYE", "CARLINI", "CROCE", "FOOLBOX", "OURS", "ZIMMERMANN"]

ATHALYE = "Athalye, Carlini and Wagner 2018"
CARLINI = "Carlini et al. 2019"
CROCE = "Croce and Hein 2020"
FOOLBOX = "Foolbox, report 74"
OURS = "Worldline"
ZIMMERMANN = "Zimmermann et al. 2022"
