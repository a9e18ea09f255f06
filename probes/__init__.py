"""The probe declarations that ship with collapse-probe, one TOML file a probe."""
