"""Running models as a server runs them: prefixes kept and loaded (`prefix`), prefill measured (`speed`)."""
