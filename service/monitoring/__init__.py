"""Prometheus, Alertmanager and Grafana beside the service, and the source of the dashboards."""
