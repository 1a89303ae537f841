"""`make demo`: the whole road, on made-up data, through a real Prefect server and worker."""

from manage.demo.story import run_demo, serve_demo, show_reports

__all__ = ["run_demo", "serve_demo", "show_reports"]
