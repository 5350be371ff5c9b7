"""The checks of pictures and LaTeX tables in `scripts/check report`: report_pictures.py REPORT

Every figures/*.svg is rendered by rsvg-convert and by CairoSVG, and every figures/*.pdf by PDFium. Each image must show the
colours that the SVG names and agree with the others. Where Inkscape and pdflatex are installed, Inkscape renders one
picture of each kind, and LaTeX sets all of them and all tables.
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cairosvg
import pypdfium2
from PIL import Image, ImageChops

WIDTH = 900
"""Pixels of each image."""
MOST_APART = 6.0
"""The mean distance of two renderings in 255ths: letters and edges differ a little, a missing part by more."""


def main() -> None:
    report = Path(sys.argv[1])
    figures = report / "figures"
    svgs = sorted(figures.glob("*.svg"))
    faults: list[str] = [] if svgs else [f"{figures}: no pictures"]
    for svg in svgs:
        faults += [f"{svg.name}: {fault}" for fault in check(svg)]
    kinds = {re.sub(r"-\d+$", "", svg.stem): svg for svg in reversed(svgs)}
    used = ["rsvg-convert", "CairoSVG", "PDFium"]
    if shutil.which("inkscape"):
        used.append("Inkscape")
        for svg in kinds.values():
            faults += [f"{svg.name}: {fault}" for fault in compare(svg, {"rsvg-convert": by_rsvg(svg), "Inkscape": by_inkscape(svg)})]
    if shutil.which("pdflatex"):
        used.append("pdflatex")
        faults += by_latex(report)
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{len(faults)} faults" if faults else f"{len(svgs)} pictures show their colours in {', '.join(used)}")
    lacking = {"Inkscape": "inkscape", "pdflatex": "pdflatex"}
    for name in lacking.keys() - set(used):
        print(f"not installed, and not asked: {name}")
    sys.exit(1 if faults else 0)


def check(svg: Path) -> list[str]:
    text = svg.read_text()
    faults = [f"has {needle}" for needle in ("var(", "@media", "<style", "<script") if needle in text]
    pdf = svg.with_suffix(".pdf")
    if not pdf.is_file():
        return [*faults, "has no PDF beside it"]
    images = {"rsvg-convert": by_rsvg(svg), "CairoSVG": by_cairo(svg), "PDFium": by_pdfium(pdf)}
    fonts = subprocess.run(["pdffonts", pdf], capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    if not fonts or any(" yes " not in line for line in fonts):
        faults.append(f"a font is not in the PDF: {fonts}")
    return faults + compare(svg, images)


def compare(svg: Path, images: dict[str, Image.Image]) -> list[str]:
    faults = []
    named = {tuple(bytes.fromhex(colour)) for colour in re.findall(r'"#([0-9a-f]{6})"', svg.read_text())}
    for name, image in images.items():
        shown = [colour for _, colour in image.getcolors(1 << 24)]
        if len(shown) < 3:
            faults.append(f"{name} shows nothing")
        # Thin lines are blended with what is beside them.
        for colour in named:
            if min(max(abs(one - other) for one, other in zip(colour, pixel)) for pixel in shown) > 40:
                faults.append(f"{name} does not show the colour {bytes(colour).hex()}")
    (first, reference), *others = images.items()
    for name, image in others:
        apart = ImageChops.difference(reference, image.resize(reference.size)).convert("L")
        mean = sum(value * count for value, count in enumerate(apart.histogram())) / (apart.width * apart.height)
        if mean > MOST_APART:
            faults.append(f"{name} differs from {first} by {mean:.1f} of 255 on average")
    return faults


def image(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def by_rsvg(svg: Path) -> Image.Image:
    return image(subprocess.run(["rsvg-convert", "--width", str(WIDTH), svg], capture_output=True, check=True).stdout)


def by_cairo(svg: Path) -> Image.Image:
    return image(cairosvg.svg2png(url=str(svg), output_width=WIDTH))


def by_pdfium(pdf: Path) -> Image.Image:
    page = pypdfium2.PdfDocument(pdf)[0]
    return page.render(scale=WIDTH / page.get_width()).to_pil().convert("RGB")


def by_inkscape(svg: Path) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        png = Path(folder) / "picture.png"
        command = ["inkscape", f"--export-filename={png}", f"--export-width={WIDTH}", svg]
        subprocess.run(command, capture_output=True, check=True)
        return image(png.read_bytes())


def by_latex(report: Path) -> list[str]:
    """Sets all pictures and tables in one document, and says what LaTeX finds wrong."""
    pictures, tables = sorted((report / "figures").glob("*.pdf")), sorted((report / "tables").glob("*.tex"))
    lines = [r"\documentclass{article}", r"\usepackage{booktabs,graphicx}", r"\usepackage[utf8]{inputenc}", r"\begin{document}"]
    lines += [rf"\noindent\includegraphics[width=\linewidth]{{{path}}}\clearpage" for path in pictures]
    lines += [rf"\input{{{path}}}\clearpage" for path in tables]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "report.tex"
        source.write_text("\n".join([*lines, r"\end{document}"]))
        command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", source.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        if done.returncode:
            return [f"LaTeX: {line}" for line in done.stdout.splitlines() if line.startswith("!")][:3] or ["LaTeX failed"]
        document = pypdfium2.PdfDocument(Path(folder) / "report.pdf")
        if len(document) < len(pictures) + len(tables):
            return [f"LaTeX made {len(document)} pages of {len(pictures)} pictures and {len(tables)} tables"]
        shown = [document[place].render(scale=0.5).to_pil().convert("RGB").getcolors(1 << 20) for place in range(len(pictures))]
        return [f"LaTeX shows nothing of {path.name}" for path, colours in zip(pictures, shown) if len(colours) < 3]


if __name__ == "__main__":
    main()
