// What every page is made of: numbers as text, elements, tables that sort and filter, charts by
// Chart.js. All text goes in as text, never as markup: names come out of models.
'use strict';
const kit = (() => {
  const root = document.getElementById('report');
  const charts = [];

  // -- Numbers --------------------------------------------------------------------------------

  const known = (x) => x !== null && x !== undefined;
  const count = (x) => known(x) ? Math.round(x).toLocaleString('en-US') : '-';
  const digits = (x, n = 4) => known(x) ? Number(x.toPrecision(n)).toString() : '-';
  const percent = (x) => known(x) ? (100 * x).toFixed(1) + ' %' : '-';
  const prefixed = (x, unit, steps, base) => {
    if (!known(x)) return '-';
    if (x === 0) return '0 ' + unit;
    const top = steps.length - 1;
    let i = steps.indexOf('');
    while (Math.abs(x) >= base && i < top) { x /= base; ++i; }
    while (Math.abs(x) < 1 && i > 0) { x *= base; --i; }
    return digits(x, 3) + ' ' + steps[i] + unit;
  };
  const si = (unit) => (x) => prefixed(x, unit, ['p', 'n', 'u', 'm', '', 'k', 'M', 'G', 'T'], 1000).trim();
  const bytes = (x) => prefixed(x, 'B', ['', 'Ki', 'Mi', 'Gi', 'Ti'], 1024);
  const change = (a, b) => known(a) && known(b) && a !== 0 ? (b - a) / a : null;
  const signed = (x) => known(x) ? (x > 0 ? '+' : '') + (100 * x).toFixed(1) + ' %' : '-';
  const seconds = (x) => known(x) ? (x < 0.01 ? '< 0.01 s' : digits(x, 3) + ' s') : '-';
  /// Error of a result relative to it, from its SQNR; null where nothing differs.
  const relative = (sqnr) => known(sqnr) ? Math.pow(10, -sqnr / 20) : null;

  // -- Elements ---------------------------------------------------------------------------------

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const links = make('nav', {'aria-label': 'Sections'});
  const head = (title, note) => root.append(make('header', {}, make('h1', {}, title), make('p', {class: 'quiet'}, note)), links);
  const section = (title, note) => {
    const id = 'part-' + links.children.length;
    const part = make('section', {id}, make('h2', {}, title));
    if (note) part.append(make('p', {class: 'quiet'}, note));
    links.append(make('a', {href: '#' + id}, title));
    root.append(part);
    return part;
  };
  const facts = (part, pairs) => part.append(make('dl', {}, ...pairs.filter((p) => known(p[1]) && p[1] !== '')
    .flatMap(([key, value]) => [make('dt', {}, key), make('dd', {}, String(value))])));
  /// A choice of options [[value, text]]; `chosen` hears of each.
  const choice = (part, label, options, chosen) => {
    const select = make('select', {}, ...options.map(([value, text]) => make('option', {value: String(value)}, text)));
    select.addEventListener('change', () => chosen(select.value));
    part.append(make('div', {class: 'tools'}, make('label', {}, label + ' ', select)));
    return select;
  };

  // -- Tables -----------------------------------------------------------------------------------

  const cellOf = (column, row) => {
    const value = column.of(row);
    const text = column.show ? column.show(value) : known(value) ? String(value) : '-';
    const cell = make('td', column.word ? {class: 'word'} : {}, text);
    if (column.change && value < 0) cell.className = 'less';
    if (column.change && value > 0) cell.className = 'more';
    return cell;
  };
  const order = (column, down) => (a, b) => {
    const x = column.of(a.row), y = column.of(b.row);
    if (!known(x) || !known(y)) return known(x) ? -1 : known(y) ? 1 : 0;
    const less = column.word ? String(x).localeCompare(String(y), 'en', {numeric: true}) : x - y;
    return down ? less : -less;
  };
  const rowCount = (n) => n + (n === 1 ? ' row' : ' rows');
  const filterBox = (shown) => {
    const search = make('input', {type: 'search', placeholder: 'Filter', 'aria-label': 'Filter the table'});
    const left = make('span', {class: 'note', 'aria-live': 'polite'}, rowCount(shown.length));
    search.addEventListener('input', () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let kept = 0;
      for (const {element} of shown) {
        const text = [...element.cells].map((cell) => cell.textContent).join(' ').toLowerCase();
        element.hidden = !words.every((word) => text.includes(word));
        kept += element.hidden ? 0 : 1;
      }
      left.textContent = kept + ' of ' + rowCount(shown.length);
    });
    return make('div', {class: 'tools'}, search, left);
  };
  /// columns: {title, of(row), show(value), word, change}; a click on a heading sorts, and with
  /// options.filter rows that match the search stay.
  const table = (part, columns, rows, options = {}) => {
    const body = make('tbody');
    const shown = rows.map((row) => ({row, element: make('tr', {}, ...columns.map((c) => cellOf(c, row)))}));
    body.append(...shown.map((x) => x.element));
    const heads = columns.map((column) => {
      const head = make('th', {scope: 'col', class: column.word ? 'word' : 'number'});
      if (options.fixed) { head.append(column.title); return head; }
      const button = make('button', {type: 'button'}, column.title);
      head.append(button);
      button.addEventListener('click', () => {
        const down = head.getAttribute('aria-sort') === 'descending' || (column.word && !head.hasAttribute('aria-sort'));
        heads.forEach((x) => x.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'ascending' : 'descending');
        body.append(...shown.slice().sort(order(column, down)).map((x) => x.element));
      });
      return head;
    });
    if (options.filter) part.append(filterBox(shown));
    part.append(make('div', {class: 'scroll', tabindex: '0'}, make('table', {}, make('thead', {}, make('tr', {}, ...heads)), body)));
  };

  // -- Charts -----------------------------------------------------------------------------------

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const common = (extra) => Object.assign({responsive: true, maintainAspectRatio: false, animation: false}, extra);
  const heading = (text) => ({display: true, text, color: colour('text'), font: {size: 13, weight: '600'}});
  const legend = () => ({labels: {color: colour('text'), usePointStyle: true, boxHeight: 7}});
  const axis = (title, show, extra = {}) => Object.assign({
    title: {display: Boolean(title), text: title, color: colour('quiet')},
    ticks: Object.assign({color: colour('quiet')}, show ? {callback: (x) => show(x)} : {}),
    grid: {color: colour('line')}}, extra);
  /// `build()` gives Chart.js its configuration; called again when the colours change. Where the page is
  /// narrower than `width` the chart scrolls; `shape` is a class of its box.
  const chart = (part, label, build, width, shape) => {
    const canvas = make('canvas', {role: 'img', 'aria-label': label});
    const box = make('div', {class: shape ? 'chart ' + shape : 'chart'}, canvas);
    if (width) Object.assign(box.style, {minWidth: width + 'px', height: '420px'});  // Long names below.
    part.append(width ? make('div', {class: 'chart-scroll', tabindex: '0'}, box) : box);
    const entry = {canvas, draw() {
      if (entry.chart) entry.chart.destroy();
      entry.chart = new Chart(canvas, build());
    }};
    entry.draw();
    charts.push(entry);
    return entry;
  };
  const redraw = () => charts.forEach((entry) => entry.draw());

  /// Bars that hang between the figure before and after each step; the outer ones stand on the ground.
  const waterfall = (part, title, start, steps, show) => {
    const labels = ['as read', ...steps.map((s) => s.name), 'result'];
    const ends = [start, ...steps.map((s) => s.value)];
    const last = ends[ends.length - 1];
    const bars = [[0, start], ...steps.map((s, i) => [ends[i], s.value]), [0, last]];
    const outer = (i) => i === 0 || i === labels.length - 1;
    const step = (b) => colour(b[1] > b[0] ? 'more' : 'less');
    chart(part, title + ' over the passes: ' + labels.map((l, i) => l + ' ' + show(bars[i][1])).join(', '), () => ({
      type: 'bar',
      data: {labels, datasets: [{data: bars, borderWidth: 1.5, borderSkipped: false, minBarLength: 2,
        borderColor: bars.map((b, i) => outer(i) ? colour('text') : step(b)),
        backgroundColor: bars.map((b, i) => i === 0 ? 'transparent' : outer(i) ? colour('after') : step(b))}]},
      options: common({
        plugins: {legend: {display: false}, title: heading(title),
          tooltip: {callbacks: {label: (x) => show(x.raw[1]) + (outer(x.dataIndex) ? '' : ' (' + signed(change(x.raw[0], x.raw[1])) + ')')}}},
        scales: {x: axis('', null, {grid: {display: false}}), y: axis('', show, {beginAtZero: true})}})}));
  };

  const shortName = (n) => n.length > 22 ? '...' + n.slice(-20) : n;
  /// Before and after, row by row; the outline is before, the filled bar is after.
  /// measures: [{title, of(row, side), show}]; names: of the two sides.
  const pairBars = (part, rows, measures, names) => {
    let m = measures[0];
    const select = choice(part, 'Bars show', measures.map((x, i) => [i, x.title]), (i) => { m = measures[Number(i)]; entry.draw(); });
    const entry = chart(part, 'Layers: ' + names.join(' and '), () => ({type: 'bar',
      data: {labels: rows.map((l) => l.name), datasets: [
        {label: names[0], data: rows.map((l) => m.of(l, 'before')), backgroundColor: 'transparent', borderColor: colour('text'), borderWidth: 1},
        {label: names[1], data: rows.map((l) => m.of(l, 'after')), backgroundColor: colour('after'), borderColor: colour('after'), borderWidth: 1}]},
      options: common({
        plugins: {legend: legend(), tooltip: {callbacks: {label: (x) => x.dataset.label + ': ' + m.show(x.raw)}}},
        scales: {x: axis('', null, {grid: {display: false},
          ticks: {color: colour('quiet'), autoSkip: rows.length > 120, maxRotation: 90,
            callback(i) { return shortName(this.getLabelForValue(i)); }}}),
          y: axis(m.title, m.show, {beginAtZero: true})}})}),
    rows.length > 40 ? Math.min(16 * rows.length, 12000) : 0);
    return select;
  };

  /// A logarithmic axis around `values` that names 1, 2 and 5 of each decade, or 1 where those are many.
  const decades = (of, values) => {
    const min = Math.min(...values) / 1.4, max = Math.max(...values) * 1.4;
    const named = max / min > 1e4 ? [1] : [1, 2, 5];
    return axis(of.title, null, {type: 'logarithmic', min, max, grid: {color: colour('line'), tickColor: colour('line')},
      ticks: {color: colour('quiet'), maxRotation: 0, autoSkip: false,
        callback: (x) => named.some((n) => x.toExponential(6).startsWith(n + '.000000')) ? of.show(x) : ''}});
  };
  /// points: [{x, y, name, kind}] on logarithmic axes; kinds differ by shape as well as by colour.
  const scatter = (part, label, points, x, y) => {
    const kinds = [...new Set(points.map((p) => p.kind))].sort();
    const shapes = ['circle', 'triangle', 'rect', 'star', 'crossRot'], shades = ['after', 'more', 'less', 'text', 'before'];
    chart(part, label, () => ({type: 'scatter',
      data: {datasets: kinds.map((kind, i) => ({label: kind, data: points.filter((p) => p.kind === kind),
        pointStyle: shapes[i % shapes.length], radius: 5, hoverRadius: 7, borderWidth: 1.5,
        borderColor: colour(shades[i % shades.length]), backgroundColor: colour(shades[i % shades.length]) + '55'}))},
      options: common({
        plugins: {legend: legend(), tooltip: {callbacks: {label: (p) => [p.raw.name, x.title + ' ' + x.show(p.raw.x), y.title + ' ' + y.show(p.raw.y)]}}},
        scales: {x: decades(x, points.map((p) => p.x)), y: decades(y, points.map((p) => p.y))}})}), 0, 'tall');
  };

  const stairs = (d) => {
    const all = d.counts.reduce((a, b) => a + b, 0) * d.width || 1;
    const points = d.counts.map((n, i) => ({x: d.begin + i * d.width, y: n / all}));
    return [{x: d.begin, y: 0}, ...points, {x: d.begin + d.counts.length * d.width, y: 0}];
  };
  const spread = (d) => d ? 'from ' + digits(d.min, 3) + ' to ' + digits(d.max, 3) + ', deviation ' + digits(d.std, 3) : '-';
  /// sets: [[label, distribution or null]]; the first is an outline, the second filled. Returns a
  /// function that takes other sets.
  const densities = (part, title, sets) => {
    const entry = chart(part, title, () => ({type: 'scatter',
      data: {datasets: sets.filter((s) => s[1]).map(([label, d], i) => ({label: label + ': ' + spread(d), data: stairs(d), showLine: true,
        stepped: true, radius: 0, hitRadius: 4, borderWidth: i === 0 ? 1.5 : 1, pointStyle: i === 0 ? 'line' : 'rect',
        borderColor: colour(i === 0 ? 'text' : 'after'), backgroundColor: colour('after') + '66', fill: i !== 0}))},
      options: common({
        plugins: {legend: legend(), title: heading(title), tooltip: {callbacks: {label: (p) => digits(p.raw.x, 3)}}},
        scales: {x: axis('', (v) => digits(v, 3)), y: axis('density', null, {beginAtZero: true, ticks: {display: false}})}})}));
    return (others) => { sets = others; entry.draw(); };
  };

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  addEventListener('beforeprint', redraw);
  addEventListener('afterprint', redraw);

  return {root, known, count, digits, percent, si, bytes, change, signed, seconds, relative, make, head, section, facts,
    choice, table, waterfall, pairBars, scatter, densities, spread};
})();
