//! The images of a batch that an attack still works on: images leave when they are done,
//! and come out in the batch's order at the end.

use candle_core::{Device, Tensor};

use base::Result;

/// Who is still there, and what those who left took with them.
pub struct Cohort {
    members: Vec<usize>,
    departed: Vec<usize>,
    parts: Vec<Tensor>,
}

impl Cohort {
    /// All of `size` images are there.
    pub fn new(size: usize) -> Self {
        Self {
            members: (0..size).collect(),
            departed: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// The images still there, as rows of the batch, ascending.
    pub fn members(&self) -> &[usize] {
        &self.members
    }

    /// What belongs to the members, of something that belongs to the whole batch.
    pub fn of<T: Copy>(&self, batch: &[T]) -> Vec<T> {
        self.members.iter().map(|&row| batch[row]).collect()
    }

    /// The members for which `done` holds leave with their rows of `results` (`[members,…]`).
    /// Returns the places, among the members so far, of those who stay; none if nobody left.
    pub fn dismiss(&mut self, done: &[bool], results: &Tensor) -> Result<Option<Vec<usize>>> {
        let (gone, stay): (Vec<usize>, Vec<usize>) =
            (0..self.members.len()).partition(|&place| done[place]);
        if gone.is_empty() {
            return Ok(None);
        }
        self.departed.extend(gone.iter().map(|&p| self.members[p]));
        self.parts.push(select(results, &gone)?);
        self.members = stay.iter().map(|&place| self.members[place]).collect();
        Ok(Some(stay))
    }

    /// Everybody's result, in the batch's order; `results` are those of the last members.
    pub fn finish(mut self, results: &Tensor) -> Result<Tensor> {
        if !self.members.is_empty() {
            self.departed.append(&mut self.members);
            self.parts.push(results.clone());
        }
        let mut place_of = vec![0; self.departed.len()];
        for (place, &row) in self.departed.iter().enumerate() {
            place_of[row] = place;
        }
        select(&Tensor::cat(&self.parts, 0)?, &place_of)
    }
}

/// These rows of a tensor.
pub fn select(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let index: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let index = Tensor::from_vec(index, rows.len(), tensor.device())?;
    Ok(tensor.index_select(&index, 0)?)
}

/// These elements of a slice.
pub fn pick<T: Copy>(values: &[T], rows: &[usize]) -> Vec<T> {
    rows.iter().map(|&row| values[row]).collect()
}

/// One number for each image, `[B,1,1,1]`.
pub fn column(values: Vec<f32>, device: &Device) -> Result<Tensor> {
    let shape = (values.len(), 1, 1, 1);
    Ok(Tensor::from_vec(values, shape, device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_out_in_the_order_of_the_batch() {
        let rows = |values: &[f32]| Tensor::from_slice(values, (values.len(), 1), &Device::Cpu);
        let mut cohort = Cohort::new(4);
        let values = rows(&[0.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(cohort.dismiss(&[false; 4], &values).unwrap(), None);
        let stay = cohort
            .dismiss(&[false, true, false, true], &values)
            .unwrap();
        assert_eq!(stay, Some(vec![0, 2]));
        assert_eq!(cohort.of(&['a', 'b', 'c', 'd']), ['a', 'c']);
        let values = rows(&[10.0, 12.0]).unwrap();
        cohort.dismiss(&[true, false], &values).unwrap();
        let all = cohort.finish(&rows(&[22.0]).unwrap()).unwrap();
        assert_eq!(
            all.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            [10.0, 1.0, 22.0, 3.0]
        );
    }
}
