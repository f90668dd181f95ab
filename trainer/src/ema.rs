//! Exponential moving average of a model's weights: what is evaluated and saved in place of the weights that the
//! optimizer moves.

use base::Result;
use nn::model::{Network, Weights, duplicate};

/// The average, as a network of its own. Running statistics are averaged, too.
pub struct Ema {
    network: Box<dyn Network>,
    decay: f64,
}

impl Ema {
    /// An average that begins with the model's weights. `decay` is the part that is kept at each step, in [0, 1).
    pub fn new(model: &dyn Network, decay: f64) -> Result<Self> {
        let network = duplicate(model)?;
        Ok(Self { network, decay })
    }

    /// The averaged model.
    pub fn network(&self) -> &dyn Network {
        self.network.as_ref()
    }

    /// Takes in the weights after `step`, counted from 0. The first steps count more, so that the initial weights
    /// are soon forgotten: no more than `(1 + step) / (10 + step)` of the average is kept.
    pub fn update(&self, weights: &Weights, step: u64) -> Result<()> {
        let kept = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        let averages = self.network.weights().tensors().iter();
        let pairs = averages.map(|(name, average)| Ok((average.clone(), weights.get(name)?)));
        Ok(nn::average(&pairs.collect::<Result<Vec<_>>>()?, kept)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use nn::model::Architecture;

    use super::*;

    #[test]
    fn the_average_of_weights_forgets_its_start_in_the_first_steps_and_keeps_decay_later() {
        let network = |seed| {
            Architecture::DEFAULT
                .init(2, 10, seed, &Device::Cpu)
                .unwrap()
        };
        let value = |network: &dyn Network| {
            let tensor = network.weights().get("linear.bias").unwrap();
            f64::from(tensor.to_vec1::<f32>().unwrap()[0])
        };
        let (first, second) = (network(1), network(2));
        let ema = Ema::new(first.as_ref(), 0.9).unwrap();
        let mut expected = value(first.as_ref());
        assert_eq!(value(ema.network()), expected);
        for (step, kept) in [(0, 0.1), (1, 2.0 / 11.0), (1000, 0.9)] {
            ema.update(second.weights(), step).unwrap();
            expected = kept * expected + (1.0 - kept) * value(second.as_ref());
            assert!((value(ema.network()) - expected).abs() < 1e-6, "{step}");
        }
        // The model itself is not moved.
        assert_eq!(value(second.as_ref()), value(network(2).as_ref()));
    }
}
