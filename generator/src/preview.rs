//! `generator preview`: a store comes in, a PNG of test pictures, their variants and the amplified
//! differences goes out.

use shared::{
    Result,
    cifar10::Split,
    files,
    sheet::{self, Strip},
    store::Store,
};

use crate::cli::Preview;

/// Pixels per pixel.
const SCALE: u32 = 2;

/// Draws the first pictures of the test split.
pub fn command(args: &Preview) -> Result<()> {
    files::may_write(&args.out, args.force)?;
    let table = Store::open(&args.db)?.load(Split::Test)?;
    let strips: Vec<Strip> = (0..table.len().min(args.count))
        .map(|row| Strip {
            caption: format!("image {}", table.ids[row]),
            clean: table.variant(row, 0),
            variants: table
                .attacks
                .iter()
                .enumerate()
                .map(|(i, name)| (name.clone(), table.variant(row, 1 + i)))
                .collect(),
        })
        .collect();
    let image = sheet::render(&strips, SCALE, args.amplify)?;
    files::write_whole(&args.out, &sheet::png(&image)?)?;
    println!(
        "{}: {} pictures; in columns clean, {}; below each the difference x {}",
        args.out.display(),
        strips.len(),
        table.attacks.join(", "),
        args.amplify
    );
    Ok(())
}
