//! Matrices inside slices: a slice and where the matrix lies in it come in, products of such
//! matrices go out, on the calling thread.

/// Where a matrix lies in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Where its first number is.
    pub offset: usize,
    /// Height.
    pub rows: usize,
    /// Width.
    pub columns: usize,
    /// From a number to the one below.
    pub row_step: usize,
    /// From a number to the one beside it.
    pub column_step: usize,
}

impl Matrix {
    /// A whole slice, row after row.
    pub fn dense(rows: usize, columns: usize) -> Self {
        Self::inside(columns, 0, rows, columns)
    }

    /// `columns` numbers, from `first` on, of rows that have `width`.
    pub fn inside(width: usize, first: usize, rows: usize, columns: usize) -> Self {
        Self {
            offset: first,
            rows,
            columns,
            row_step: width,
            column_step: 1,
        }
    }

    /// The transpose.
    pub fn turned(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// The least length of a slice that holds it.
    fn end(&self) -> usize {
        self.offset + (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 1
    }
}

/// What a product does with the numbers that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Replaces them.
    Over,
    /// Is added to them.
    Onto,
}

/// Puts `factor * left right` over or onto the output.
pub fn multiply(
    factor: f32,
    (left, l): (&[f32], Matrix),
    (right, r): (&[f32], Matrix),
    (output, o): (&mut [f32], Matrix),
    put: Put,
) {
    assert!(l.columns == r.rows && l.rows == o.rows && r.columns == o.columns);
    assert!(l.rows > 0 && l.columns > 0 && r.columns > 0);
    assert!(l.end() <= left.len() && r.end() <= right.len() && o.end() <= output.len());
    let onto = put == Put::Onto;
    // SAFETY: all three matrices lie inside their slices, as asserted, and the output's is
    // borrowed alone.
    unsafe {
        gemm::gemm(
            o.rows,
            o.columns,
            l.columns,
            output.as_mut_ptr().add(o.offset),
            o.column_step as isize,
            o.row_step as isize,
            onto,
            left.as_ptr().add(l.offset),
            l.column_step as isize,
            l.row_step as isize,
            right.as_ptr().add(r.offset),
            r.column_step as isize,
            r.row_step as isize,
            if onto { 1.0 } else { 0.0 },
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
