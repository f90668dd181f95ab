//! Matrix products of strided views into slices (`gemm` of BLAS), on the calling thread.

/// A strided view of a matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Index of its first element.
    pub offset: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// From an element to the one below it.
    pub row_stride: usize,
    /// From an element to the one to its right.
    pub col_stride: usize,
}

impl Matrix {
    /// A whole slice, row-major.
    pub fn dense(rows: usize, columns: usize) -> Self {
        Self::strided(columns, 0, rows, columns)
    }

    /// A block of a row-major matrix whose rows are `row_stride` long; `offset` is the index of its
    /// first element.
    pub fn strided(row_stride: usize, offset: usize, rows: usize, columns: usize) -> Self {
        Self {
            offset,
            rows,
            columns,
            row_stride,
            col_stride: 1,
        }
    }

    /// The transpose.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Length that a slice must at least have to hold it.
    fn min_len(&self) -> usize {
        self.offset + (self.rows - 1) * self.row_stride + (self.columns - 1) * self.col_stride + 1
    }
}

/// What happens to the output's old values (`beta` of BLAS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beta {
    /// Overwritten.
    Zero,
    /// Added to.
    One,
}

/// `output = factor * left * right + beta * output`.
pub fn gemm(
    factor: f32,
    (left, l): (&[f32], Matrix),
    (right, r): (&[f32], Matrix),
    (output, o): (&mut [f32], Matrix),
    beta: Beta,
) {
    assert!(l.columns == r.rows && l.rows == o.rows && r.columns == o.columns);
    assert!(l.rows > 0 && l.columns > 0 && r.columns > 0);
    assert!(l.min_len() <= left.len() && r.min_len() <= right.len() && o.min_len() <= output.len());
    let accumulate = beta == Beta::One;
    // SAFETY: all three matrices lie inside their slices, as asserted, and the output's is
    // borrowed alone.
    unsafe {
        ::gemm::gemm(
            o.rows,
            o.columns,
            l.columns,
            output.as_mut_ptr().add(o.offset),
            o.col_stride as isize,
            o.row_stride as isize,
            accumulate,
            left.as_ptr().add(l.offset),
            l.col_stride as isize,
            l.row_stride as isize,
            right.as_ptr().add(r.offset),
            r.col_stride as isize,
            r.row_stride as isize,
            if accumulate { 1.0 } else { 0.0 },
            factor,
            false,
            false,
            false,
            ::gemm::Parallelism::None,
        );
    }
}
