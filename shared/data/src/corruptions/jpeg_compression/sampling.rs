//! Chroma at half the resolution in both directions: averages of four, and a triangle filter back.

/// A square plane of half the side; halves and quarters are rounded up and down in turn along a row.
pub fn halved(plane: &[u8], side: usize) -> Vec<u8> {
    let half = side / 2;
    let average = |i: usize| {
        let (row, column) = (i / half, i % half);
        let corner = 2 * row * side + 2 * column;
        let four = [corner, corner + 1, corner + side, corner + side + 1];
        let sum: u32 = four.iter().map(|&place| u32::from(plane[place])).sum();
        ((sum + 1 + (column as u32) % 2) / 4) as u8
    };
    (0..half * half).map(average).collect()
}

/// A square plane of twice the side: three parts of the nearest row or column and one of the next nearest, outside
/// which the plane goes on as at its edge.
pub fn doubled(plane: &[u8], side: usize) -> Vec<u8> {
    let double = 2 * side;
    let value = |i: usize| {
        let rows = neighbors(i / double, side);
        let columns = neighbors(i % double, side);
        let weighted = |[near, far]: [u32; 2]| 3 * near + far;
        let of_column =
            |column: usize| weighted(rows.map(|row| u32::from(plane[row * side + column])));
        // Left ones of two are rounded half up, right ones half down.
        let rounding = if i.is_multiple_of(2) { 8 } else { 7 };
        ((weighted(columns.map(of_column)) + rounding) / 16) as u8
    };
    (0..double * double).map(value).collect()
}

/// The nearest and the next nearest place in a line, of a place in the line of twice the length.
fn neighbors(place: usize, length: usize) -> [usize; 2] {
    let near = place / 2;
    let far = match place % 2 {
        0 => near.saturating_sub(1),
        _ => (near + 1).min(length - 1),
    };
    [near, far]
}
