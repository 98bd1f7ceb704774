"""Prefect flows: thin shells around `merr_pipeline.build`."""
