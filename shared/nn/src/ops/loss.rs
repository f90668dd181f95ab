//! Losses: mean cross entropy, Kullback-Leibler divergence and mean Smooth L1.

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail,
};
use candle_nn::ops::log_softmax;

use crate::cuda;

/// Mean cross entropy of logits `[B,classes]` and labels `[B]` (u32).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    smoothed_cross_entropy(logits, labels, 0.0)
}

/// Mean cross entropy with labels of which `smoothing` is spread evenly over all classes, as PyTorch's
/// `label_smoothing`.
pub fn smoothed_cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    if logits.device().is_cuda() {
        let labels = labels.clone();
        let op = CudaCrossEntropy { labels, smoothing };
        return logits.to_dtype(DType::F32)?.contiguous()?.apply_op1(op);
    }
    let of_labels = log_softmax(logits, D::Minus1)?.gather(&labels.unsqueeze(1)?, 1)?;
    let loss = of_labels.mean_all()?.neg()?;
    if smoothing == 0.0 {
        return Ok(loss);
    }
    let uniform = log_softmax(logits, D::Minus1)?.mean_all()?.neg()?;
    (loss * (1.0 - smoothing))? + (uniform * smoothing)?
}

/// The same in one kernel.
struct CudaCrossEntropy {
    labels: Tensor,
    smoothing: f64,
}

impl CustomOp1 for CudaCrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, _logits: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("on the CPU the cross entropy is composed of candle's operations")
    }

    fn cuda_fwd(&self, logits: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let loss = cuda::cross_entropy((logits, layout), &self.labels, self.smoothing)?;
        Ok((loss, Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Self { labels, smoothing } = self;
        cuda::cross_entropy_backward(logits, labels, *smoothing, gradient).map(Some)
    }
}

/// Mean over the images of the Kullback-Leibler divergence of the second logits' softmax from the first's,
/// `sum p log(p / q)`; both `[B,classes]`.
pub fn kl_divergence(p: &Tensor, q: &Tensor) -> Result<Tensor> {
    let (p, q) = (log_softmax(p, D::Minus1)?, log_softmax(q, D::Minus1)?);
    (p.exp()? * (p - q)?)?.sum(D::Minus1)?.mean_all()
}

/// Mean Smooth L1 distance with beta 1 (Girshick, "Fast R-CNN", 2015, eq. 3):
/// `d^2 / 2` where `|d| < 1`, else `|d| - 1/2`.
pub fn smooth_l1(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let distance = (prediction - target)?.abs()?;
    // With m = min(|d|, 1) both branches are m * (|d| - m / 2).
    let near = distance.minimum(1.0)?;
    (&near * (&distance - (&near * 0.5)?)?)?.mean_all()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn smoothed_cross_entropy_and_kl_divergence_equal_pytorch() {
        // p = torch.tensor([[1.0, -0.5, 0.25], [0.3, 2.0, -1.0]]); y = torch.tensor([2, 1])
        // q = torch.tensor([[0.5, 0.1, -0.25], [1.3, 0.0, -2.0]])
        // F.cross_entropy(p, y, label_smoothing=0.2)
        // F.kl_div(F.log_softmax(q, 1), F.softmax(p, 1), reduction="batchmean")
        let tensor = |rows: [[f32; 3]; 2]| Tensor::new(&rows, &Device::Cpu).unwrap();
        let p = tensor([[1.0, -0.5, 0.25], [0.3, 2.0, -1.0]]);
        let q = tensor([[0.5, 0.1, -0.25], [1.3, 0.0, -2.0]]);
        let labels = Tensor::new(&[2u32, 1], &Device::Cpu).unwrap();
        let value = |loss: Result<Tensor>| loss.unwrap().to_scalar::<f32>().unwrap();
        let smoothed = value(smoothed_cross_entropy(&p, &labels, 0.2));
        assert!((smoothed - 0.900_164_96).abs() < 1e-6, "{smoothed}");
        let divergence = value(kl_divergence(&p, &q));
        assert!((divergence - 0.482_405).abs() < 1e-6, "{divergence}");
        let unsmoothed = value(smoothed_cross_entropy(&p, &labels, 0.0));
        assert_eq!(unsmoothed, value(cross_entropy(&p, &labels)));
    }
}
