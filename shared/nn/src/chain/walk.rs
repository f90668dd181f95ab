//! The walk through a chain and back: feature maps come in, the last activations go out, and on the
//! way back the gradient of what came in. Between the layers nothing is cleared or added: what a
//! gradient meets before the next layer - a residual's gradient, a ReLU - the layer takes with it.

use std::borrow::Borrow;

use candle_core::{Result, bail};

use super::ResidualLayer;
use kernels::shape::{ConvShape, NhwcShape};

/// A convolution and its normalization, on some device.
pub trait Layer {
    /// A feature map `[B,H,W,C]`, or its gradient, to be read.
    type View: ?Sized;
    /// One that is owned.
    type Map: Borrow<Self::View> + Send;
    /// What the way back needs.
    type Saved: Send;

    /// The sizes on images like these.
    fn geometry(&self, input: NhwcShape) -> Result<ConvShape>;

    /// `activate(normalize(convolve(x)) + residual)`.
    fn forward(
        &self,
        geometry: &ConvShape,
        x: &Self::View,
        residual: Option<&Self::View>,
        relu: bool,
    ) -> Result<(Self::Map, Self::Saved)>;

    /// The gradient of what the convolution gave, from that before residual and ReLU, unless it is
    /// the same; learns, if `learns`.
    fn slopes(
        &self,
        geometry: &ConvShape,
        saved: &mut Self::Saved,
        x: &Self::View,
        gradient: &Self::View,
        learns: bool,
    ) -> Result<Option<Self::Map>>;

    /// The gradient of `x` from that of what the convolution gave, plus `residual`, cut where
    /// `gate` is not positive.
    fn input_gradient(
        &self,
        geometry: &ConvShape,
        slopes: &Self::View,
        residual: Option<&Self::View>,
        gate: Option<&Self::View>,
    ) -> Result<Self::Map>;

    /// The gradient behind a ReLU that gave `y`.
    fn through_relu(y: &Self::View, gradient: &Self::View) -> Result<Self::Map>;
}

/// What a link leaves on the way.
pub struct Trace<L: Layer> {
    /// Images that came in.
    input: NhwcShape,
    /// Activations between a block's layers.
    inner: Option<L::Map>,
    /// What the layers saved, in the order of [`Link::layers`].
    saved: Vec<L::Saved>,
    /// What went out; of the last link somebody else keeps it.
    y: Option<L::Map>,
}

impl<L: Layer> Trace<L> {
    fn y(&self) -> Result<&L::View> {
        view(&self.y)
    }
}

impl<L: Layer<Map = Vec<f32>, Saved = ()>> Trace<L> {
    /// The trace that these of the images would have left.
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

fn view<M: Borrow<V>, V: ?Sized>(map: &Option<M>) -> Result<&V> {
    match map {
        Some(map) => Ok(map.borrow()),
        None => bail!("a feature map that nobody kept"),
    }
}

/// The last activations, and what was left on the way to them.
pub type Walked<L> = (<L as Layer>::Map, Vec<Trace<L>>);

/// The images that leave a chain that these enter.
pub fn output<L: Layer>(links: &[ResidualLayer<L>], input: NhwcShape) -> Result<NhwcShape> {
    links.iter().try_fold(input, |input, link| match link {
        ResidualLayer::Plain(layer) => Ok(layer.geometry(input)?.output()),
        ResidualLayer::Block { first, second, .. } => {
            let inner = first.geometry(input)?.output();
            Ok(second.geometry(inner)?.output())
        }
    })
}

/// Walks through all links.
pub fn forward<L: Layer>(
    links: &[ResidualLayer<L>],
    mut input: NhwcShape,
    x: &L::View,
) -> Result<Walked<L>> {
    let mut traces: Vec<Trace<L>> = Vec::with_capacity(links.len());
    for link in links {
        let x = traces.last().map_or(Ok(x), Trace::y)?;
        let trace = forward_link(link, input, x)?;
        input = output(std::slice::from_ref(link), input)?;
        traces.push(trace);
    }
    match traces.last_mut().and_then(|trace| trace.y.take()) {
        Some(y) => Ok((y, traces)),
        None => bail!("a chain without links"),
    }
}

fn forward_link<L: Layer>(
    link: &ResidualLayer<L>,
    input: NhwcShape,
    x: &L::View,
) -> Result<Trace<L>> {
    Ok(match link {
        ResidualLayer::Plain(layer) => {
            let (y, saved) = layer.forward(&layer.geometry(input)?, x, None, true)?;
            Trace {
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
            let residual = beside.as_ref().map_or(x, Borrow::borrow);
            let geometry = second.geometry(geometry.output())?;
            let (y, of_second) = second.forward(&geometry, inner.borrow(), Some(residual), true)?;
            saved.push(of_second);
            Trace {
                input,
                inner: Some(inner),
                saved,
                y: Some(y),
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
    links: &[ResidualLayer<L>],
    traces: &mut [Trace<L>],
    x: &L::View,
    y: &L::View,
    gradient: &L::View,
    wanted: Wanted,
) -> Result<Option<L::Map>> {
    let mut gradient = L::through_relu(y, gradient)?;
    for at in (0..links.len()).rev() {
        let (before, rest) = traces.split_at_mut(at);
        let gate = before.last().map(Trace::y).transpose()?;
        let wanted = Wanted {
            input: wanted.input || at > 0,
            ..wanted
        };
        let x = gate.unwrap_or(x);
        match backward_link(&links[at], &mut rest[0], x, gate, gradient.borrow(), wanted)? {
            Some(of_x) => gradient = of_x,
            None => return Ok(None),
        }
    }
    Ok(Some(gradient))
}

/// `gradient` is that before the link's last ReLU; that of `x` is cut where `gate` is not positive.
fn backward_link<L: Layer>(
    link: &ResidualLayer<L>,
    trace: &mut Trace<L>,
    x: &L::View,
    gate: Option<&L::View>,
    gradient: &L::View,
    wanted: Wanted,
) -> Result<Option<L::Map>> {
    let learns = wanted.parameters;
    let input = trace.input;
    match (link, trace.saved.as_mut_slice()) {
        (ResidualLayer::Plain(layer), [saved]) => {
            let geometry = layer.geometry(input)?;
            let slopes = layer.slopes(&geometry, saved, x, gradient, learns)?;
            let slopes = slopes.as_ref().map_or(gradient, Borrow::borrow);
            let of_x = || layer.input_gradient(&geometry, slopes, None, gate);
            wanted.input.then(of_x).transpose()
        }
        (
            ResidualLayer::Block {
                first,
                second,
                shortcut,
            },
            [of_first, of_shortcut @ .., of_second],
        ) => {
            let geometry = first.geometry(input)?;
            let inner_geometry = second.geometry(geometry.output())?;
            let inner = view(&trace.inner)?;
            let slopes = second.slopes(&inner_geometry, of_second, inner, gradient, learns)?;
            let slopes = slopes.as_ref().map_or(gradient, Borrow::borrow);
            let of_inner = second.input_gradient(&inner_geometry, slopes, None, Some(inner))?;
            let beside = match (shortcut, of_shortcut) {
                (Some(shortcut), [saved]) => {
                    let geometry = shortcut.geometry(input)?;
                    let slopes = shortcut.slopes(&geometry, saved, x, gradient, learns)?;
                    let slopes = slopes.as_ref().map_or(gradient, Borrow::borrow);
                    Some(shortcut.input_gradient(&geometry, slopes, None, None)?)
                }
                _ => None,
            };
            let beside = beside.as_ref().map_or(gradient, Borrow::borrow);
            let slopes = first.slopes(&geometry, of_first, x, of_inner.borrow(), learns)?;
            let slopes = slopes.as_ref().map_or(of_inner.borrow(), Borrow::borrow);
            let of_x = || first.input_gradient(&geometry, slopes, Some(beside), gate);
            wanted.input.then(of_x).transpose()
        }
        _ => bail!("a link saves as much as it has layers"),
    }
}
