//! Active set: the images of a batch that an iterative attack still works on. Finished images
//! leave it and cost nothing more, but for the padding of what is left (`padding`); results are in the batch's order.

use candle_core::{Device, Tensor};

use base::Result;

/// The active images, and the results of the finished ones.
pub struct ActiveSet {
    active: Vec<usize>,
    finished: Vec<usize>,
    results: Vec<Tensor>,
}

impl ActiveSet {
    /// All images of a batch of `size`.
    pub fn new(size: usize) -> Self {
        Self {
            active: (0..size).collect(),
            finished: Vec::new(),
            results: Vec::new(),
        }
    }

    /// The active images, as rows of the batch, ascending.
    pub fn rows(&self) -> &[usize] {
        &self.active
    }

    /// Whether all images are finished.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// The active images' elements of `batch`, which has one for each image of the batch.
    pub fn gather<T: Clone>(&self, batch: &[T]) -> Vec<T> {
        pick(batch, &self.active)
    }

    /// Finishes the active images for which `done` holds, with their rows of `results`
    /// (`[active,…]`). Returns the positions, among the active images so far, of those that stay
    /// active; `None` if all do.
    pub fn retire(&mut self, done: &[bool], results: &Tensor) -> Result<Option<Vec<usize>>> {
        let (retired, kept): (Vec<usize>, Vec<usize>) =
            (0..self.active.len()).partition(|&position| done[position]);
        if retired.is_empty() {
            return Ok(None);
        }
        self.finished.extend(pick(&self.active, &retired));
        self.results.push(select(results, &retired)?);
        self.active = pick(&self.active, &kept);
        Ok(Some(kept))
    }

    /// All images' results in the batch's order; `results` are those of the active images.
    pub fn into_batch_order(mut self, results: &Tensor) -> Result<Tensor> {
        if !self.active.is_empty() {
            self.finished.append(&mut self.active);
            self.results.push(results.clone());
        }
        let mut position_of = vec![0; self.finished.len()];
        for (position, &row) in self.finished.iter().enumerate() {
            position_of[row] = position;
        }
        select(&Tensor::cat(&self.results, 0)?, &position_of)
    }
}

/// These rows of a tensor.
pub fn select(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    if rows.is_empty() {
        // CUDA launches no kernel of no blocks.
        return Ok(tensor.narrow(0, 0, 0)?);
    }
    let index: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let index = Tensor::from_vec(index, rows.len(), tensor.device())?;
    Ok(tensor.index_select(&index, 0)?)
}

/// These elements of a slice.
pub fn pick<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row].clone()).collect()
}

/// One number for each image, `[B,1,1,1]`.
pub fn column(values: Vec<f32>, device: &Device) -> Result<Tensor> {
    let shape = (values.len(), 1, 1, 1);
    Ok(Tensor::from_vec(values, shape, device)?)
}

/// For each image `yes` where the mask, `[B]` u8, is 1, `no` where it is 0; both `[B,3,32,32]`.
pub fn where_mask(mask: &Tensor, yes: &Tensor, no: &Tensor) -> Result<Tensor> {
    let mask = mask.reshape(((), 1, 1, 1))?;
    Ok(mask.broadcast_as(yes.shape())?.where_cond(yes, no)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_of_no_rows_is_empty() {
        let tensor = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        assert_eq!(select(&tensor, &[]).unwrap().dims(), [0, 2]);
        let rows = select(&tensor, &[1, 1]).unwrap().to_vec2::<f32>();
        assert_eq!(rows.unwrap(), [[3.0, 4.0], [3.0, 4.0]]);
    }

    #[test]
    fn results_of_an_active_set_come_out_in_the_order_of_the_batch() {
        let rows = |values: &[f32]| Tensor::from_slice(values, (values.len(), 1), &Device::Cpu);
        let mut set = ActiveSet::new(4);
        let values = rows(&[0.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(set.retire(&[false; 4], &values).unwrap(), None);
        let kept = set.retire(&[false, true, false, true], &values).unwrap();
        assert_eq!(kept, Some(vec![0, 2]));
        assert_eq!(set.gather(&['a', 'b', 'c', 'd']), ['a', 'c']);
        let values = rows(&[10.0, 12.0]).unwrap();
        set.retire(&[true, false], &values).unwrap();
        let all = set.into_batch_order(&rows(&[22.0]).unwrap()).unwrap();
        assert_eq!(
            all.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [10.0, 1.0, 22.0, 3.0]
        );
    }
}
