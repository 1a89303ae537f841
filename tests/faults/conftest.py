"""How long the model is searched: briefly with every test, and for long in `make soak`."""

from hypothesis import HealthCheck, settings

_ALWAYS = {
    "deadline": None,
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("short", max_examples=15, stateful_step_count=20, **_ALWAYS)
settings.register_profile("soak", max_examples=400, stateful_step_count=40, **_ALWAYS)
settings.load_profile("short")
