'use strict';
// The page is whole without this: it hides what is not wanted yet, and drops the ball. What it
// shows can be named in the address: #step=3, #path=/etc/passwd, #request=7. Text enters the page
// as textContent, never as HTML.

const one = (s, from = document) => from.querySelector(s);
const all = (s, from = document) => [...from.querySelectorAll(s)];
const data = id => JSON.parse(one('#' + id).textContent);

// The start: the state after step n.
function showStep(n) {
  for (const e of all('[data-from]')) {
    e.classList.toggle('later', e.dataset.from > n);
    e.classList.toggle('new', e.dataset.from == n && n > 0);
  }
  for (const a of all('article')) a.hidden = a.id != 'step-' + n;
  const name = one(`#step-${n}`)?.dataset.name;
  one('#start output').textContent = n > 0 ? `${n} of ${one('#step').max}: ${name}` : 'before the first step';
}

// The trace: request n, from 1.
function showRequest(n) {
  for (const e of all('.lane rect.now')) e.classList.remove('now');
  const mark = one(`.lane rect[data-request="${n - 1}"]`);
  mark?.classList.add('now');
  one('#trace output').textContent = mark ? `${n}: ${mark.textContent}` : '';
}

// The stack: where a path ends. The directory and the name of each row make a key.
const key = (dir, name) => dir + '/' + name;
let paths, rowOf;

function findPath(text) {
  const names = [];
  for (const name of text.split('/')) {
    if (name == '..') names.pop();
    else if (name != '' && name != '.') names.push(name);
  }
  let row = 0;
  for (const [i, name] of names.entries()) {
    const next = rowOf.get(key(row, name));
    if (next == undefined) return {names, answer: paths.Rows[row][3], cut: paths.Cut[row] && '/' + names.slice(0, i).join('/')};
    row = next;
  }
  return {names, row, answer: paths.Rows[row][2]};
}

function showPath(text, falls = true) {
  const {names, row, answer, cut} = findPath(text);
  const path = n => '/' + names.slice(0, n).join('/');
  const a = paths.Answers[answer], layers = all('.layer');
  layers.forEach((layer, i) => {
    const nobody = i == a.Verdicts.length;
    let says = nobody || cut ? '' : sentences[a.Verdicts[i]];
    if (says && a.At[i]) says += ': ' + path(a.At[i]);
    if (says && a.Entry[i] >= 0 && row != undefined) says += ' — ' + paths.Entries[a.Entry[i]];
    one('.says', layer).textContent = says;
    layer.classList.toggle('decides', !cut && (nobody ? a.Decides < 0 : i == a.Decides));
    layer.classList.toggle('unasked', !cut && (nobody ? a.Decides >= 0 : a.Verdicts[i] == 0));
  });
  const ball = one('#ball'), end = layers[a.Decides < 0 ? layers.length - 1 : a.Decides];
  ball.hidden = Boolean(cut);
  ball.style.transform = `translateY(${end.offsetTop + 8}px)`;
  for (const fall of ball.getAnimations()) fall.cancel();
  if (falls && !matchMedia('(prefers-reduced-motion: reduce)').matches) {
    ball.animate({transform: ['translateY(-2rem)', ball.style.transform]}, {duration: 200 + 2 * end.offsetTop, easing: 'ease-in'});
  }
  one('#verdict').textContent = cut ? `what is below ${cut} found no room in this page: ask tiffin why`
    : a.Decides < 0 ? `${path()}: no layer has it` : `${path()}: ${end.dataset.layer} ${one('.says', end).textContent}`;
  // What may be typed next: the entries of the directory.
  const dir = text.endsWith('/') || row == undefined ? findPath(text.replace(/[^/]*$/, '')).row : paths.Rows[row][0];
  one('#below').replaceChildren(...(paths.below.get(dir) ?? []).slice(0, 100).map(name => {
    const option = document.createElement('option');
    option.value = text.replace(/[^/]*$/, '') + name;
    return option;
  }));
}

// Each picture that is there: an input, and what to do when it changes.
let sentences;
const inputs = [];
function connect(id, show) {
  const input = one('#' + id);
  if (!input) return;
  inputs.push([id, input, show]);
  input.addEventListener('input', () => show(input.value));
}
connect('step', n => showStep(Number(n)));
connect('request', n => showRequest(Number(n)));
if (one('#paths')) {
  paths = data('paths');
  sentences = data('sentences');
  rowOf = new Map();
  paths.below = new Map();
  paths.Rows.forEach(([dir, name], row) => {
    if (row == 0) return;
    rowOf.set(key(dir, name), row);
    if (!paths.below.has(dir)) paths.below.set(dir, []);
    paths.below.get(dir).push(name);
  });
  connect('path', showPath);
  addEventListener('resize', () => showPath(one('#path').value, false));
}
for (const mark of all('.lane rect')) {
  mark.addEventListener('click', () => { one('#request').value = Number(mark.dataset.request) + 1; showRequest(one('#request').value); });
}

function readAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const [id, input, show] of inputs) {
    if (wanted.has(id)) input.value = wanted.get(id);
    show(input.value);
  }
}
addEventListener('hashchange', readAddress);
readAddress();
