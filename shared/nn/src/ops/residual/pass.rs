//! Forward and backward pass of a residual stack. Between the layers nothing is cleared or added: a
//! residual's gradient and a ReLU's mask are applied in the epilogue of the input gradient before.

use std::borrow::Borrow;

use candle_core::{Result, bail};

use super::{Backend, Layer, NormGradients, ResidualLayer, layer::Cpu};
use kernels::shape::NhwcShape;

/// What a part of the stack leaves for the backward pass.
pub struct SavedPart<L: Layer<B>, B: Backend> {
    /// Sizes of its input.
    input: NhwcShape,
    /// Activations between a block's layers.
    inner: Option<B::Map>,
    /// What the layers saved, in the order of [`ResidualLayer::layers`].
    saved: Vec<L::Saved>,
    /// Its result; `None` for the last part, whose result is that of the operation.
    y: Option<B::Map>,
}

impl<L: Layer<B>, B: Backend> SavedPart<L, B> {
    fn y(&self) -> Result<&B::View> {
        view::<B>(&self.y)
    }
}

impl<L: Layer<Cpu, Saved = ()>> SavedPart<L, Cpu> {
    /// What these of the images would have left.
    pub fn select(&self, rows: &[usize]) -> Self {
        let images = self.input.images;
        let select = |map: &Option<Vec<f32>>| {
            map.as_ref().map(|map| {
                let len = map.len() / images;
                let parts: Vec<&[f32]> = rows.iter().map(|row| &map[row * len..][..len]).collect();
                parts.concat()
            })
        };
        Self {
            input: NhwcShape {
                images: rows.len(),
                ..self.input
            },
            inner: select(&self.inner),
            saved: self.saved.clone(),
            y: select(&self.y),
        }
    }
}

fn view<B: Backend>(map: &Option<B::Map>) -> Result<&B::View> {
    match map {
        Some(map) => Ok(map.borrow()),
        None => bail!("a feature map that was not saved"),
    }
}

/// The result, and what the parts left.
pub type Forward<L, B> = (<B as Backend>::Map, Vec<SavedPart<L, B>>);

/// Sizes of the result for such an input.
pub fn output<L: Layer<B>, B: Backend>(
    stack: &[ResidualLayer<L>],
    input: NhwcShape,
) -> Result<NhwcShape> {
    stack.iter().try_fold(input, |input, part| match part {
        ResidualLayer::Plain(layer) => Ok(layer.shape(input)?.output()),
        ResidualLayer::Block { first, second, .. } => {
            let inner = first.shape(input)?.output();
            Ok(second.shape(inner)?.output())
        }
    })
}

/// Computes all parts.
pub fn forward<L: Layer<B>, B: Backend>(
    stack: &[ResidualLayer<L>],
    mut input: NhwcShape,
    x: &B::View,
) -> Result<Forward<L, B>> {
    let layers: Vec<&L> = stack.iter().flat_map(ResidualLayer::layers).collect();
    let mut prepared = L::prepare(&layers)?.into_iter();
    let mut next = || match prepared.next() {
        Some(prepared) => Ok(prepared),
        None => bail!("a layer of a residual stack that was not prepared"),
    };
    let mut saved: Vec<SavedPart<L, B>> = Vec::with_capacity(stack.len());
    for part in stack {
        let x = saved.last().map_or(Ok(x), SavedPart::y)?;
        let part_saved = forward_part(part, input, x, &mut next)?;
        input = output(std::slice::from_ref(part), input)?;
        saved.push(part_saved);
    }
    match saved.last_mut().and_then(|part| part.y.take()) {
        Some(y) => Ok((y, saved)),
        None => bail!("a residual stack without layers"),
    }
}

/// `prepared` gives what is prepared for each layer, in their order.
fn forward_part<L: Layer<B>, B: Backend>(
    part: &ResidualLayer<L>,
    input: NhwcShape,
    x: &B::View,
    prepared: &mut dyn FnMut() -> Result<L::Prepared>,
) -> Result<SavedPart<L, B>> {
    Ok(match part {
        ResidualLayer::Plain(layer) => {
            let (y, saved) = layer.forward(prepared()?, &layer.shape(input)?, x, None, true)?;
            SavedPart {
                input,
                inner: None,
                saved: vec![saved],
                y: Some(y),
            }
        }
        ResidualLayer::Block {
            first,
            second,
            shortcut,
        } => {
            let shape = first.shape(input)?;
            let (inner, first_saved) = first.forward(prepared()?, &shape, x, None, true)?;
            let mut saved = vec![first_saved];
            let mut beside = None;
            if let Some(shortcut) = shortcut {
                let shape = shortcut.shape(input)?;
                let (y, shortcut_saved) = shortcut.forward(prepared()?, &shape, x, None, false)?;
                saved.push(shortcut_saved);
                beside = Some(y);
            }
            let residual = beside.as_ref().map_or(x, Borrow::borrow);
            let shape = second.shape(shape.output())?;
            let (y, second_saved) =
                second.forward(prepared()?, &shape, inner.borrow(), Some(residual), true)?;
            saved.push(second_saved);
            SavedPart {
                input,
                inner: Some(inner),
                saved,
                y: Some(y),
            }
        }
    })
}

/// The gradients that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// That of the input.
    pub input: bool,
    /// Those of the layers' parameters.
    pub parameters: bool,
}

/// The gradient of the input `x`, if it is wanted, from that of the result `y`.
pub fn backward<L: Layer<B>, B: Backend>(
    stack: &[ResidualLayer<L>],
    saved: &mut [SavedPart<L, B>],
    x: &B::View,
    y: &B::View,
    gradient: &B::View,
    wanted: Wanted,
) -> Result<Option<B::Map>> {
    let mut gradient = B::relu_backward(y, gradient)?;
    for at in (0..stack.len()).rev() {
        let (before, rest) = saved.split_at_mut(at);
        let relu_output = before.last().map(SavedPart::y).transpose()?;
        let wanted = Wanted {
            input: wanted.input || at > 0,
            ..wanted
        };
        let x = relu_output.unwrap_or(x);
        match backward_part(
            &stack[at],
            &mut rest[0],
            x,
            relu_output,
            gradient.borrow(),
            wanted,
        )? {
            Some(grad_x) => gradient = grad_x,
            None => return Ok(None),
        }
    }
    Ok(Some(gradient))
}

/// `gradient` is that before the part's last ReLU; that of `x` is zero where `relu_output` is not positive.
fn backward_part<L: Layer<B>, B: Backend>(
    part: &ResidualLayer<L>,
    saved: &mut SavedPart<L, B>,
    x: &B::View,
    relu_output: Option<&B::View>,
    gradient: &B::View,
    wanted: Wanted,
) -> Result<Option<B::Map>> {
    let norm = NormGradients {
        parameters: wanted.parameters,
        relu: false,
    };
    let input = saved.input;
    match (part, saved.saved.as_mut_slice()) {
        (ResidualLayer::Plain(layer), [saved]) => {
            let shape = layer.shape(input)?;
            let grad = layer.norm_backward(&shape, saved, x, gradient, norm)?;
            let grad = grad.as_ref().map_or(gradient, Borrow::borrow);
            let grad_x = || layer.input_gradient(saved, &shape, grad, None, relu_output);
            wanted.input.then(grad_x).transpose()
        }
        (
            ResidualLayer::Block {
                first,
                second,
                shortcut,
            },
            [first_saved, shortcut_saved @ .., second_saved],
        ) => {
            let shape = first.shape(input)?;
            let inner_shape = second.shape(shape.output())?;
            let inner = view::<B>(&saved.inner)?;
            let grad = second.norm_backward(&inner_shape, second_saved, inner, gradient, norm)?;
            let grad = grad.as_ref().map_or(gradient, Borrow::borrow);
            let relu = (!L::PASSES_RELU).then_some(inner);
            let grad_inner = second.input_gradient(second_saved, &inner_shape, grad, None, relu)?;
            let beside = match (shortcut, shortcut_saved) {
                (Some(shortcut), [saved]) => {
                    let shape = shortcut.shape(input)?;
                    let grad = shortcut.norm_backward(&shape, saved, x, gradient, norm)?;
                    let grad = grad.as_ref().map_or(gradient, Borrow::borrow);
                    Some(shortcut.input_gradient(saved, &shape, grad, None, None)?)
                }
                _ => None,
            };
            let beside = beside.as_ref().map_or(gradient, Borrow::borrow);
            let grad_inner = grad_inner.borrow();
            let norm = NormGradients {
                relu: L::PASSES_RELU,
                ..norm
            };
            let grad = first.norm_backward(&shape, first_saved, x, grad_inner, norm)?;
            let grad = grad.as_ref().map_or(grad_inner, Borrow::borrow);
            let grad_x =
                || first.input_gradient(first_saved, &shape, grad, Some(beside), relu_output);
            wanted.input.then(grad_x).transpose()
        }
        _ => bail!("a part of a residual stack saves as much as it has layers"),
    }
}
