"""Reference implementations in PyTorch, which the Rust programs are compared with: models, detector,
attacks, random numbers."""
