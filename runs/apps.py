from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
    verbose_name = "tunix-rt"

    def ready(self) -> None:
        from runs import signals, upgrades  # noqa: F401
