// Lines in SVG. A chart knows numbers and classes; where they come from is no matter of its own.

const SVG = "http://www.w3.org/2000/svg";

// The most points of a line: three minutes of frames.
export const POINTS_MAX = 240;

// A round number not below `value`, for the top of an axis.
export function roundUp(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  for (const step of [1, 2, 5, 10]) if (value <= step * unit) return step * unit;
  return value;
}

// Points of a line in a field of `width` by `height`; gaps (null) break it.
function path(values, width, height, top, count) {
  const step = width / Math.max(1, count - 1);
  const start = count - values.length;
  let text = "";
  let isOpen = false;
  values.forEach((value, index) => {
    if (value === null) {
      isOpen = false;
      return;
    }
    const x = ((start + index) * step).toFixed(1);
    const y = (height - 2 - (height - 4) * Math.min(1, value / top)).toFixed(1);
    text += `${isOpen ? "L" : "M"}${x} ${y}`;
    isOpen = true;
  });
  return text;
}

function part(svg, index, name, className) {
  const have = svg.children[index];
  if (have) return have;
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", className);
  svg.append(made);
  return made;
}

// Draws `lines` ([values, class]) over each other. With `hasGrid` there are lines and numbers
// behind them, and an area below the first.
export function draw(svg, lines, { width = 400, height = 120, hasGrid = true, format = String } = {}) {
  const all = lines.flatMap(([values]) => values.filter((value) => value !== null));
  const top = roundUp(Math.max(0, ...all));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  let index = 0;
  if (hasGrid) {
    for (const share of [0, 0.5, 1]) {
      const line = part(svg, index++, "line", "grid");
      const y = 2 + (height - 4) * share;
      for (const [name, value] of [["x1", 0], ["x2", width], ["y1", y], ["y2", y]]) {
        line.setAttribute(name, value);
      }
    }
    const [values] = lines[0];
    const area = part(svg, index++, "path", "area");
    const from = values.findIndex((value) => value !== null);
    if (from >= 0 && values.length - from > 1) {
      const step = width / (POINTS_MAX - 1);
      const x = ((POINTS_MAX - values.length + from) * step).toFixed(1);
      const filled = values.slice(from).map((value) => value ?? 0);
      area.setAttribute("d", `${path(filled, width, height, top, POINTS_MAX)}L${width} ${height}L${x} ${height}Z`);
    } else {
      area.setAttribute("d", "");
    }
    const plot = svg.parentElement;
    plot.querySelector(".top").textContent = all.length ? format(top) : "";
  }
  for (const [values, className] of lines) {
    part(svg, index++, "path", `line ${className}`)
      .setAttribute("d", path(values, width, height, top, POINTS_MAX));
  }
}

// Wraps an SVG so that numbers of its axis can stand over it without being stretched with it.
export function prepare(svg) {
  const plot = document.createElement("div");
  plot.className = "plot";
  svg.replaceWith(plot);
  const top = document.createElement("span");
  top.className = "top";
  plot.append(svg, top);
}
