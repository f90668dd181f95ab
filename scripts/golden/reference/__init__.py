"""What the Rust programs are measured against, in PyTorch: nets, attacks, random numbers."""
