//! A drawing as a PDF of one page: paths, and text in an embedded font.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::drawing::{Drawing, Kind, Pen, Point, Primitive};
use super::font;
use super::style::Ink;
use super::svg::number;

/// Points of a PDF for a unit of a drawing.
const SCALE: f64 = 0.75;

/// The length of the control arms of a circle's four Bézier curves, relative to the radius.
const ARM: f64 = 0.552_284_75;

impl Drawing {
    /// Renders a PDF of one page that is as large as the drawing. Characters outside Windows-1252 become question
    /// marks.
    pub(crate) fn pdf(&self) -> io::Result<Vec<u8>> {
        let (width, height) = (number(SCALE * self.width), number(SCALE * self.height));
        let widths: Vec<String> = font::WIDTHS.iter().map(ToString::to_string).collect();
        let content = self.content();
        let mut file = PdfFile::default();
        file.object("<< /Type /Catalog /Pages 2 0 R >>");
        file.object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
        file.object(&format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
        ));
        file.stream(content.as_bytes())?;
        file.object(&format!(
            "<< /Type /Font /Subtype /TrueType /BaseFont /HAYLFT+Arimo /Encoding /WinAnsiEncoding /FirstChar {} /LastChar 255 /Widths [{}] /FontDescriptor 6 0 R >>",
            font::FIRST,
            widths.join(" ")
        ));
        // Flags: not symbolic. Numbers are those of the font's tables `head`, `hhea` and `OS/2`, in thousandths.
        file.object(
            "<< /Type /FontDescriptor /FontName /HAYLFT+Arimo /Flags 32 /FontBBox [-203 -223 1000 878] /ItalicAngle 0 /Ascent 905 /Descent -212 /CapHeight 688 /StemV 80 /FontFile2 7 0 R >>",
        );
        file.stream(font::FILE)?;
        file.object(&format!("<< /Title {} /Producer (hayloft) >>", unicode(&self.caption.title)));
        Ok(file.finish())
    }

    /// Characters that the PDF's font lacks.
    pub(crate) fn lacking(&self) -> BTreeSet<char> {
        let texts =
            self.elements.iter().flat_map(|element| &element.primitives).filter_map(|primitive| match primitive {
                Primitive::Text { content, .. } => Some(content.chars()),
                _ => None,
            });
        texts.flatten().filter(|character| font::code(*character).is_none()).collect()
    }

    /// The page's operators.
    fn content(&self) -> String {
        // The origin of a PDF is at the bottom; a drawing's is at the top.
        let mut text = format!("{SCALE} 0 0 -{SCALE} 0 {} cm 1 j\n", number(SCALE * self.height));
        let shown = self.elements.iter().filter(|element| element.kind != Kind::Target);
        for primitive in shown.flat_map(|element| &element.primitives) {
            write_primitive(&mut text, primitive);
        }
        text
    }
}

/// Writing to a string cannot fail.
fn write_primitive(text: &mut String, primitive: &Primitive) {
    match primitive {
        Primitive::Path { points, is_closed, fill, pen } => {
            set(text, *fill, *pen);
            for (place, point) in points.iter().enumerate() {
                let _ = writeln!(text, "{} {}", pair(*point), if place == 0 { "m" } else { "l" });
            }
            if *is_closed {
                text.push_str("h\n");
            }
            paint(text, *fill, *pen);
        }
        Primitive::Circle { centre: (x, y), radius, fill, pen } => {
            set(text, *fill, *pen);
            let at = |across: f64, down: f64| pair((x + across * radius, y + down * radius));
            let _ = writeln!(text, "{} m", at(1.0, 0.0));
            for [from, to] in [
                [(1.0, 0.0), (0.0, 1.0)],
                [(0.0, 1.0), (-1.0, 0.0)],
                [(-1.0, 0.0), (0.0, -1.0)],
                [(0.0, -1.0), (1.0, 0.0)],
            ] {
                let _ = writeln!(
                    text,
                    "{} {} {} c",
                    at(from.0 + ARM * to.0, from.1 + ARM * to.1),
                    at(to.0 + ARM * from.0, to.1 + ARM * from.1),
                    at(to.0, to.1)
                );
            }
            text.push_str("h\n");
            paint(text, *fill, *pen);
        }
        Primitive::Text { at: (x, y), content, size, anchor, ink, is_turned } => {
            let before = anchor.before(font::width(content, *size));
            let matrix = if *is_turned {
                format!("0 -1 -1 0 {} {}", number(*x), number(y + before))
            } else {
                format!("1 0 0 -1 {} {}", number(x - before), number(*y))
            };
            let [red, green, blue] = ink.rgb().map(number);
            let _ = writeln!(text, "{red} {green} {blue} rg BT /F {size} Tf {matrix} Tm <{}> Tj ET", codes(content));
        }
    }
}

/// Sets colours, width and dashes.
fn set(text: &mut String, fill: Option<Ink>, pen: Option<Pen>) {
    if let Some(ink) = fill {
        let [red, green, blue] = ink.rgb().map(|part| format!("{part:.4}"));
        let _ = writeln!(text, "{red} {green} {blue} rg");
    }
    if let Some(Pen { ink, width, dashes }) = pen {
        let [red, green, blue] = ink.rgb().map(|part| format!("{part:.4}"));
        let dashes: Vec<String> = dashes.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "{red} {green} {blue} RG {width} w [{}] 0 d", dashes.join(" "));
    }
}

fn paint(text: &mut String, fill: Option<Ink>, pen: Option<Pen>) {
    text.push_str(match (fill, pen) {
        (Some(_), Some(_)) => "B\n",
        (Some(_), None) => "f\n",
        (None, Some(_)) => "S\n",
        (None, None) => "n\n",
    });
}

fn pair((x, y): Point) -> String {
    format!("{} {}", number(x), number(y))
}

/// Character codes in hexadecimal.
fn codes(text: &str) -> String {
    hexadecimal(text.chars().map(|character| font::code(character).unwrap_or(b'?')))
}

/// A string of UTF-16.
fn unicode(text: &str) -> String {
    format!("<feff{}>", hexadecimal(text.encode_utf16().flat_map(u16::to_be_bytes)))
}

fn hexadecimal(bytes: impl Iterator<Item = u8>) -> String {
    bytes.fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file under construction. Objects are numbered from 1; the first is the catalog, the last the information about the
/// file.
struct PdfFile {
    bytes: Vec<u8>,
    offsets: Vec<usize>,
}

impl Default for PdfFile {
    fn default() -> Self {
        // Four bytes above 127 mark the file as binary.
        Self { bytes: b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec(), offsets: Vec::new() }
    }
}

impl PdfFile {
    fn object(&mut self, body: &str) {
        self.raw(body.as_bytes());
    }

    fn stream(&mut self, content: &[u8]) -> io::Result<()> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        let (length, whole) = (packed.len(), content.len());
        let mut body = format!("<< /Length {length} /Length1 {whole} /Filter /FlateDecode >>\nstream\n").into_bytes();
        body.extend(packed);
        body.extend(b"\nendstream");
        self.raw(&body);
        Ok(())
    }

    fn raw(&mut self, body: &[u8]) {
        self.offsets.push(self.bytes.len());
        self.bytes.extend(format!("{} 0 obj\n", self.offsets.len()).into_bytes());
        self.bytes.extend(body);
        self.bytes.extend(b"\nendobj\n");
    }

    fn finish(mut self) -> Vec<u8> {
        let (start, count) = (self.bytes.len(), self.offsets.len());
        let mut text = format!("xref\n0 {}\n0000000000 65535 f \n", count + 1);
        for offset in &self.offsets {
            let _ = writeln!(text, "{offset:010} 00000 n ");
        }
        let _ = write!(
            text,
            "trailer\n<< /Size {} /Root 1 0 R /Info {count} 0 R >>\nstartxref\n{start}\n%%EOF\n",
            count + 1
        );
        self.bytes.extend(text.into_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawing::{Anchor, Caption};
    use super::*;

    #[test]
    fn letters_that_the_font_lacks_are_named() {
        let caption = Caption { id: "x".to_owned(), title: "β".to_owned(), description: "x".to_owned() };
        let mut drawing = Drawing::new(caption, 10.0, 10.0);
        drawing.frame(Primitive::text((0.0, 0.0), "β = −2 – “é”…", Anchor::Start, Ink::Text));
        assert_eq!(drawing.lacking().into_iter().collect::<String>(), "β");
        assert!(drawing.content().contains("<3f203d209632209620"), "{}", drawing.content());
    }
}
