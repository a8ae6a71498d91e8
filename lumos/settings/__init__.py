"""Settings: `env` reads the environment, `base` is the product, `test` the suite."""
