//! A model around images: pixels come in, logits and, for any slopes in the logits, the gradients
//! of the pixels go out; the way there is computed once, however many ways back are asked for.

use candle_core::{Tensor, Var};

use base::Result;

/// What a model says of images, and how that changes with their pixels.
pub trait Linearized {
    /// `[B,10]`.
    fn logits(&self) -> &Tensor;

    /// For each of `slopes` `[R,10]` the gradient `[R,3,32,32]`, in the pixels, of the logits of
    /// `rows` times the slope; no row twice.
    fn vjp(&mut self, rows: &[usize], slopes: &[Tensor]) -> Result<Vec<Tensor>>;
}

/// By candle's graph, for any net.
pub struct Graph {
    pixels: Var,
    logits: Tensor,
}

impl Graph {
    /// Lets `images` through `net`.
    pub fn new(images: &Tensor, net: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let pixels = Var::from_tensor(&images.detach())?;
        Ok(Self {
            logits: net(&pixels)?,
            pixels,
        })
    }
}

impl Linearized for Graph {
    fn logits(&self) -> &Tensor {
        &self.logits
    }

    fn vjp(&mut self, rows: &[usize], slopes: &[Tensor]) -> Result<Vec<Tensor>> {
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let rows = Tensor::new(rows, self.logits.device())?;
        let logits = self.logits.index_select(&rows, 0)?;
        let gradient = |slope: &Tensor| {
            let loss = (&logits * slope)?.sum_all()?;
            // A model may ignore its input.
            let all = match loss.backward()?.remove(&self.pixels) {
                Some(gradient) => gradient.detach(),
                None => self.pixels.zeros_like()?.detach(),
            };
            Ok(all.contiguous()?.index_select(&rows, 0)?)
        };
        slopes.iter().map(gradient).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::model::{Classifier, ResNet34};
    use base::random::Stream;

    fn drawn(shape: &[usize], key: u64) -> Tensor {
        let mut stream = Stream::new(key, "linearized", &[]);
        let draw = |_| stream.between(0.0, 1.0) as f32;
        let values: Vec<f32> = (0..shape.iter().product()).map(draw).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_net_pulls_slopes_back_as_its_graph_does_for_any_rows() {
        let net = ResNet34::init(4, 0, &Device::Cpu)
            .unwrap()
            .frozen()
            .unwrap();
        let images = drawn(&[40, 3, 32, 32], 1);
        let mut ours = net.linearized(&images).unwrap();
        let mut graph = Graph::new(&images, |pixels| net.logits(pixels)).unwrap();
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(ours.logits()), flat(graph.logits()));
        let few = vec![7, 0, 39];
        for rows in [few, (0..40).collect(), (1..40).rev().collect()] {
            let slopes = [2, 3, 4].map(|key| drawn(&[rows.len(), 10], key));
            let pairs = std::iter::zip(
                ours.vjp(&rows, &slopes).unwrap(),
                graph.vjp(&rows, &slopes).unwrap(),
            );
            for (ours, graph) in pairs {
                assert_eq!(ours.dims(), [rows.len(), 3, 32, 32]);
                assert_eq!(flat(&ours), flat(&graph));
            }
        }
    }
}
