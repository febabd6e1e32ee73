// Lets the reader mark a region: a click, a dragged box, or paint. A mark is sent in shares of width and height.
// The picture is replaced with the template whenever its value changes, so events are listened to on the root.
const BRUSH = 0.05; // of the longer side
let paints = false;
let strokes = []; // what was painted so far
let drawn = null; // the stroke, or the corners of the box, under the pointer
let last = null; // the mark to show

const image = () => element.querySelector('img');
const place = event => {
  const box = image().getBoundingClientRect();
  const share = (at, from, size) => Math.min(Math.max((at - from) / size, 0), 1);
  return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
};

function show(mark) {
  const canvas = element.querySelector('canvas');
  const box = image().getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = box.width * ratio;
  canvas.height = box.height * ratio;
  if (!mark) return;
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  pen.lineCap = pen.lineJoin = 'round';
  pen.globalAlpha = 0.8;
  const lines = new Path2D();
  for (const stroke of mark.strokes) {
    const places = stroke.map(([x, y]) => [x * box.width, y * box.height]);
    if (mark.kind === 'point') {
      lines.arc(...places[0], 8, 0, 2 * Math.PI);
    } else if (mark.kind === 'box') {
      const [[x0, y0], [x1, y1]] = places;
      lines.rect(x0, y0, x1 - x0, y1 - y0);
    } else {
      lines.moveTo(...places[0]);
      for (const place of places) lines.lineTo(...place);
    }
  }
  const width = mark.kind === 'paint' ? mark.width * Math.max(box.width, box.height) : 3;
  for (const [colour, edge] of [['rgb(28, 30, 34)', 2], ['rgb(255, 179, 0)', 0]]) { // seen on amber too
    pen.strokeStyle = colour;
    pen.lineWidth = width + edge;
    pen.stroke(lines);
  }
}

// A drag of a few pixels is a click with an unsteady hand.
function mark() {
  if (paints) return {kind: 'paint', strokes: [...strokes, drawn], width: BRUSH};
  const [[x0, y0], [x1, y1]] = [drawn[0], drawn[drawn.length - 1]];
  const box = image().getBoundingClientRect();
  const moved = Math.min(Math.abs(x1 - x0) * box.width, Math.abs(y1 - y0) * box.height);
  return moved < 6 ? {kind: 'point', strokes: [[[x0, y0]]]} : {kind: 'box', strokes: [[[x0, y0], [x1, y1]]]};
}

function forget() {
  strokes = [];
  last = null;
  show(null);
}

element.addEventListener('pointerdown', event => {
  if (!event.target.closest('.pg-stage') || event.button) return;
  event.preventDefault();
  event.target.setPointerCapture(event.pointerId);
  drawn = [place(event)];
  show(last = mark());
});
element.addEventListener('pointermove', event => {
  if (!drawn) return;
  drawn.push(place(event));
  show(last = mark());
});
element.addEventListener('pointerup', () => {
  if (!drawn) return;
  last = mark();
  if (paints) strokes.push(drawn);
  drawn = null;
  show(last);
  trigger('select', last);
});
element.addEventListener('pointercancel', () => {
  drawn = null;
  show(last = null);
});
element.addEventListener('click', event => {
  const button = event.target.closest('[data-tool]');
  if (!button) return;
  forget();
  if (button.dataset.tool === 'clear') return;
  paints = button.dataset.tool === 'paint';
  for (const other of element.querySelectorAll('[data-tool]')) {
    other.setAttribute('aria-pressed', String(other === button));
  }
});
watch('value', () => {
  forget();
  for (const other of element.querySelectorAll('[data-tool]')) {
    other.setAttribute('aria-pressed', String(other.dataset.tool === (paints ? 'paint' : 'click')));
  }
});
window.addEventListener('resize', () => show(last));
