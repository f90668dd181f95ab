//! How operations are computed on a device.
