"""Two models: do they share weaknesses, and which gives in more?

The first answer needs forward passes alone, so one of the two may be a service that you can only
ask.
"""

import worldline as wl


def main() -> None:
    """Compare a plain network with one that was trained on attacked inputs."""
    data = wl.zoo.digits()
    models = {"plain": wl.zoo.load("mlp"), "hardened": wl.zoo.load("mlp-adv")}

    print(wl.compare_models(models, data.x, data.y, eps=0.15, samples=100))
    for name, model in models.items():
        found = wl.explore(model, data.x, data.y, eps=0.15, steps=10, samples=60, name=name).record
        where = found.swap_layer.name if found.swap_layer else "none for sure"
        print(
            f"{name}: {found.adversarial_accuracy:.0%} right under attack; tipping layer: {where}"
        )


if __name__ == "__main__":
    main()
