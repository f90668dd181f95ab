//! Batch sizes on CUDA: cuDNN chooses its algorithms anew for every size, so batches that shrink image by image are
//! padded to one of a few sizes.

use candle_core::Device;

/// The sizes up to the largest of them; above, its multiples.
const SIZES: [usize; 10] = [8, 16, 32, 64, 96, 128, 192, 256, 384, 512];

/// Whether batches on this device are padded. The CPU's time is that of the images, of whatever number.
pub fn pads_batches(device: &Device) -> bool {
    device.is_cuda()
}

/// The padded size of a batch that has lost images of at first `full`: never more than those, since their size is in
/// use already.
pub fn padded_batch(size: usize, full: usize) -> usize {
    let padded = match SIZES.iter().find(|padded| size <= **padded) {
        Some(&padded) => padded,
        None => size.next_multiple_of(SIZES[SIZES.len() - 1]),
    };
    padded.min(full).max(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrinking_batch_is_padded_to_one_of_few_sizes_and_never_above_the_full_one() {
        let padded = [1, 8, 9, 65, 97, 300, 512, 513, 1025].map(|size| padded_batch(size, 2000));
        assert_eq!(padded, [8, 8, 16, 96, 128, 384, 512, 1024, 1536]);
        assert_eq!(
            [1, 65, 99, 100].map(|size| padded_batch(size, 100)),
            [8, 96, 100, 100]
        );
        // A batch of more images than were known of keeps its size.
        assert_eq!(padded_batch(7, 5), 7);
        let mut sizes: Vec<usize> = (1..=512).map(|size| padded_batch(size, 512)).collect();
        sizes.dedup();
        assert_eq!(sizes, SIZES);
    }
}
