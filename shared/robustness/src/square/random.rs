//! Random decisions of Square: each is made of one uniform number, in the order of the reference implementation, so
//! that a recorded sequence gives the reference's decisions.

use base::random::Stream;

/// A source of uniform numbers in [0,1), and the decisions made of them.
pub trait Random {
    /// The next number.
    fn uniform(&mut self) -> f64;

    /// The sign of a change: -1 or 1.
    fn sign(&mut self) -> f32 {
        if self.uniform() < 0.5 { -1.0 } else { 1.0 }
    }

    /// The first row or column of a window that leaves `free` ones: below `free`, and 0 if that is 0. So a window never
    /// touches the image's last row or column, as in the reference implementations.
    fn origin(&mut self, free: usize) -> usize {
        (self.uniform() * free as f64) as usize
    }

    /// Whether a pattern is transposed.
    fn transposed(&mut self) -> bool {
        self.uniform() > 0.5
    }
}

impl Random for Stream {
    fn uniform(&mut self) -> f64 {
        Self::uniform(self)
    }
}
