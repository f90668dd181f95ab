//! The walk through a chain and back on the CPU: slices come in, the last activations go out, and
//! on the way back the gradient of what came in. Between the layers
//! nothing is cleared, added or cut in a pass of its own: what a gradient meets before the next
//! layer - a residual's gradient, a ReLU - is done as it leaves the convolution.

use std::borrow::Cow;

use candle_core::{Result, bail};

use super::Link;
use crate::nn::cpu::{
    epilogue::Epilogue,
    geometry::{Geometry, Pictures},
    normalise::through_relu,
};

/// A convolution and its normalisation.
pub trait Layer {
    /// What the way back needs.
    type Saved: Send;

    /// The sizes on pictures like these.
    fn geometry(&self, input: Pictures) -> Result<Geometry>;

    /// `activate(normalise(convolve(x)) + residual)`.
    fn forward(
        &self,
        geometry: &Geometry,
        x: &[f32],
        residual: Option<&[f32]>,
        relu: bool,
    ) -> Result<(Vec<f32>, Self::Saved)>;

    /// The gradient of what the convolution gave, from that before residual and ReLU; learns, if
    /// `learns`.
    fn slopes<'a>(
        &self,
        geometry: &Geometry,
        saved: &mut Self::Saved,
        x: &[f32],
        gradient: &'a [f32],
        learns: bool,
    ) -> Result<Cow<'a, [f32]>>;

    /// The gradient of `x` from that of what the convolution gave.
    fn input_gradient(
        &self,
        geometry: &Geometry,
        slopes: &[f32],
        epilogue: Epilogue,
    ) -> Result<Vec<f32>>;
}

/// What a link leaves on the way.
pub struct Trace<S> {
    /// Pictures that came in.
    input: Pictures,
    /// Activations between a block's layers.
    inner: Vec<f32>,
    /// What the layers saved, in the order of [`Link::layers`].
    pub saved: Vec<S>,
    /// What went out; of the last link somebody else keeps it.
    y: Vec<f32>,
}

/// The last activations, and what was left on the way to them.
pub type Walked<S> = (Vec<f32>, Vec<Trace<S>>);

/// The pictures that leave a chain that these enter.
pub fn output<L: Layer>(links: &[Link<L>], input: Pictures) -> Result<Pictures> {
    links.iter().try_fold(input, |input, link| match link {
        Link::Plain(layer) => Ok(layer.geometry(input)?.output()),
        Link::Block { first, second, .. } => {
            let inner = first.geometry(input)?.output();
            Ok(second.geometry(inner)?.output())
        }
    })
}

/// Walks through all links.
pub fn forward<L: Layer>(
    links: &[Link<L>],
    mut input: Pictures,
    x: &[f32],
) -> Result<Walked<L::Saved>> {
    let mut traces: Vec<Trace<L::Saved>> = Vec::with_capacity(links.len());
    for link in links {
        let x = traces.last().map_or(x, |trace| trace.y.as_slice());
        let trace = forward_link(link, input, x)?;
        input = output(std::slice::from_ref(link), input)?;
        traces.push(trace);
    }
    let y = match traces.last_mut() {
        Some(trace) => std::mem::take(&mut trace.y),
        None => bail!("a chain without links"),
    };
    Ok((y, traces))
}

fn forward_link<L: Layer>(link: &Link<L>, input: Pictures, x: &[f32]) -> Result<Trace<L::Saved>> {
    Ok(match link {
        Link::Plain(layer) => {
            let (y, saved) = layer.forward(&layer.geometry(input)?, x, None, true)?;
            Trace {
                input,
                inner: Vec::new(),
                saved: vec![saved],
                y,
            }
        }
        Link::Block {
            first,
            second,
            shortcut,
        } => {
            let geometry = first.geometry(input)?;
            let (inner, of_first) = first.forward(&geometry, x, None, true)?;
            let mut saved = vec![of_first];
            let mut beside = None;
            if let Some(shortcut) = shortcut {
                let geometry = shortcut.geometry(input)?;
                let (y, of_shortcut) = shortcut.forward(&geometry, x, None, false)?;
                saved.push(of_shortcut);
                beside = Some(y);
            }
            let residual = beside.as_deref().unwrap_or(x);
            let geometry = second.geometry(geometry.output())?;
            let (y, of_second) = second.forward(&geometry, &inner, Some(residual), true)?;
            saved.push(of_second);
            Trace {
                input,
                inner,
                saved,
                y,
            }
        }
    })
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// That of what came in.
    pub input: bool,
    /// Those of the layers' parameters.
    pub parameters: bool,
}

/// Walks back through all links: the gradient of `x` from that of `y`, if it is wanted.
pub fn backward<L: Layer>(
    links: &[Link<L>],
    traces: &mut [Trace<L::Saved>],
    x: &[f32],
    y: &[f32],
    gradient: &[f32],
    wanted: Wanted,
) -> Result<Option<Vec<f32>>> {
    let mut gradient = through_relu(y, gradient);
    for at in (0..links.len()).rev() {
        let (before, rest) = traces.split_at_mut(at);
        let (x, gate) = match before.last() {
            Some(trace) => (trace.y.as_slice(), Some(trace.y.as_slice())),
            None => (x, None),
        };
        let wanted = Wanted {
            input: wanted.input || at > 0,
            ..wanted
        };
        match backward_link(&links[at], &mut rest[0], x, gate, &gradient, wanted)? {
            Some(of_x) => gradient = of_x,
            None => return Ok(None),
        }
    }
    Ok(Some(gradient))
}

/// `gradient` is that before the link's last ReLU; that of `x` is cut where `gate` is not positive.
fn backward_link<L: Layer>(
    link: &Link<L>,
    trace: &mut Trace<L::Saved>,
    x: &[f32],
    gate: Option<&[f32]>,
    gradient: &[f32],
    wanted: Wanted,
) -> Result<Option<Vec<f32>>> {
    let learns = wanted.parameters;
    let input = trace.input;
    match (link, trace.saved.as_mut_slice()) {
        (Link::Plain(layer), [saved]) => {
            let geometry = layer.geometry(input)?;
            let slopes = layer.slopes(&geometry, saved, x, gradient, learns)?;
            let epilogue = Epilogue {
                gate,
                ..Epilogue::default()
            };
            let of_x = || layer.input_gradient(&geometry, &slopes, epilogue);
            wanted.input.then(of_x).transpose()
        }
        (
            Link::Block {
                first,
                second,
                shortcut,
            },
            [of_first, of_shortcut @ .., of_second],
        ) => {
            let geometry = first.geometry(input)?;
            let inner = second.geometry(geometry.output())?;
            let slopes = second.slopes(&inner, of_second, &trace.inner, gradient, learns)?;
            let epilogue = Epilogue {
                gate: Some(&trace.inner),
                ..Epilogue::default()
            };
            let of_inner = second.input_gradient(&inner, &slopes, epilogue)?;
            let beside = match (shortcut, of_shortcut) {
                (Some(shortcut), [saved]) => {
                    let geometry = shortcut.geometry(input)?;
                    let slopes = shortcut.slopes(&geometry, saved, x, gradient, learns)?;
                    let nothing = Epilogue::default();
                    Cow::Owned(shortcut.input_gradient(&geometry, &slopes, nothing)?)
                }
                _ => Cow::Borrowed(gradient),
            };
            let slopes = first.slopes(&geometry, of_first, x, &of_inner, learns)?;
            let epilogue = Epilogue {
                residual: Some(&beside),
                gate,
                ..Epilogue::default()
            };
            let of_x = || first.input_gradient(&geometry, &slopes, epilogue);
            wanted.input.then(of_x).transpose()
        }
        _ => bail!("a link saves as much as it has layers"),
    }
}
