//! A picture as a list of vector primitives, which SVG and PDF are written from.

use super::style::{Ink, Shape, Style};

/// A point: x to the right, y down.
pub(super) type Point = (f64, f64);

/// Title and description of a picture, for screen readers.
#[derive(Debug, Clone)]
pub(crate) struct Caption {
    /// Unique on the page; letters, digits and hyphens.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
}

/// A picture.
#[derive(Debug, Clone)]
pub(crate) struct Drawing {
    pub(crate) caption: Caption,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) elements: Vec<Element>,
}

/// Primitives that belong together.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) kind: Kind,
    /// Shown while the pointer is over it; empty for none.
    pub(super) hover: String,
    pub(super) primitives: Vec<Primitive>,
}

/// The part that an element plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Axes, grid, labels, legend.
    Frame,
    /// The border of a plot area. Marks lie inside it.
    Area,
    /// A line or a marker of data.
    Mark,
    /// An invisible disc that makes a point of a line easy to hit.
    Target,
}

/// What can be drawn.
#[derive(Debug, Clone)]
pub(super) enum Primitive {
    Path { points: Vec<Point>, is_closed: bool, fill: Option<Ink>, pen: Option<Pen> },
    Circle { centre: Point, radius: f64, fill: Option<Ink>, pen: Option<Pen> },
    Text { at: Point, content: String, size: f64, anchor: Anchor, ink: Ink, is_turned: bool },
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub(super) ink: Ink,
    pub(super) width: f64,
    pub(super) dashes: &'static [f64],
}

/// The point of a text that is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Sizes of text.
pub(super) const SIZE: f64 = 13.0;

/// Radius of a marker.
pub(super) const RADIUS: f64 = 5.0;

impl Drawing {
    pub(super) fn new(caption: Caption, width: f64, height: f64) -> Self {
        Self { caption, width, height, elements: Vec::new() }
    }

    /// Adds a part of the frame.
    pub(super) fn frame(&mut self, primitive: Primitive) {
        self.add(Kind::Frame, String::new(), vec![primitive]);
    }

    pub(super) fn add(&mut self, kind: Kind, hover: String, primitives: Vec<Primitive>) {
        self.elements.push(Element { kind, hover, primitives });
    }
}

impl Pen {
    pub(super) fn solid(ink: Ink, width: f64) -> Self {
        Self { ink, width, dashes: &[] }
    }
}

impl Primitive {
    pub(super) fn line(from: Point, to: Point, pen: Pen) -> Self {
        Self::path(vec![from, to], pen)
    }

    pub(super) fn path(points: Vec<Point>, pen: Pen) -> Self {
        Self::Path { points, is_closed: false, fill: None, pen: Some(pen) }
    }

    /// A rectangle between two corners.
    pub(super) fn rectangle((left, top): Point, (right, bottom): Point, fill: Option<Ink>, pen: Option<Pen>) -> Self {
        let points = vec![(left, top), (right, top), (right, bottom), (left, bottom)];
        Self::Path { points, is_closed: true, fill, pen }
    }

    /// A line of text.
    pub(super) fn text(at: Point, content: &str, anchor: Anchor, ink: Ink) -> Self {
        Self::Text { at, content: content.to_owned(), size: SIZE, anchor, ink, is_turned: false }
    }

    /// A marker. A hollow one is filled with the surface, so that no line shows through.
    pub(super) fn marker(centre: Point, style: Style, radius: f64) -> Self {
        let fill = Some(if style.is_hollow { Ink::Surface } else { style.ink });
        let pen = Some(Pen::solid(style.ink, 1.8));
        let (x, y) = centre;
        let around = |corners: u32, turn: f64, size: f64| {
            let corner = |place: u32| {
                let angle = std::f64::consts::TAU * (f64::from(place) / f64::from(corners) + turn);
                (x + size * radius * angle.sin(), y - size * radius * angle.cos())
            };
            Self::Path { points: (0..corners).map(corner).collect(), is_closed: true, fill, pen }
        };
        match style.shape {
            Shape::Circle => Self::Circle { centre, radius, fill, pen },
            Shape::Square => around(4, 0.125, 1.25),
            Shape::Triangle => around(3, 0.0, 1.3),
            Shape::Diamond => around(4, 0.0, 1.35),
            Shape::TriangleDown => around(3, 0.5, 1.3),
            Shape::Pentagon => around(5, 0.0, 1.15),
        }
    }
}

impl Anchor {
    /// The length of a text before its anchor.
    pub(super) fn before(self, length: f64) -> f64 {
        match self {
            Self::Start => 0.0,
            Self::Middle => length / 2.0,
            Self::End => length,
        }
    }
}
