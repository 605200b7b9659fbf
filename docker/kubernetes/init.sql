-- Run once, when the database is made: MLflow's own beside Dagster's.
CREATE DATABASE mlflow OWNER dagster;
