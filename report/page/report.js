// Shows the report that stands in #data: tables that sort and filter, charts by Chart.js. All text
// goes in as text, never as markup: names come out of models.
'use strict';
(() => {
  const report = JSON.parse(document.getElementById('data').textContent);
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
  const si = (unit) => (x) => prefixed(x, unit, ['p', 'n', 'u', 'm', '', 'k', 'M', 'G', 'T'], 1000);
  const bytes = (x) => prefixed(x, 'B', ['', 'Ki', 'Mi', 'Gi', 'Ti'], 1024);
  const change = (a, b) => known(a) && known(b) && a !== 0 ? (b - a) / a : null;
  const signed = (x) => known(x) ? (x > 0 ? '+' : '') + (100 * x).toFixed(1) + ' %' : '-';
  const seconds = (x) => known(x) ? (x < 0.01 ? '< 0.01 s' : digits(x, 3) + ' s') : '-';

  // -- Elements ---------------------------------------------------------------------------------

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const section = (title, note) => {
    const part = make('section', {}, make('h2', {}, title));
    if (note) part.append(make('p', {class: 'quiet'}, note));
    root.append(part);
    return part;
  };

  /// columns: {title, of(row), show(value), word, change}; rows that match the search stay.
  const table = (part, columns, rows, options = {}) => {
    const body = make('tbody');
    const shown = rows.map((row) => {
      const cells = columns.map((column) => {
        const value = column.of(row);
        const text = column.show ? column.show(value) : known(value) ? String(value) : '-';
        const cell = make('td', column.word ? {class: 'word'} : {}, text);
        if (column.change && value < 0) cell.className = 'less';
        if (column.change && value > 0) cell.className = 'more';
        return cell;
      });
      return {row, element: make('tr', {}, ...cells)};
    });
    body.append(...shown.map((x) => x.element));
    const heads = columns.map((column) => {
      const button = make('button', {type: 'button'}, column.title);
      const head = make('th', {scope: 'col', class: column.word ? 'word' : 'number'}, button);
      button.addEventListener('click', () => {
        const down = head.getAttribute('aria-sort') === 'descending' || (column.word && !head.hasAttribute('aria-sort'));
        heads.forEach((x) => x.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', down ? 'ascending' : 'descending');
        const order = (a, b) => {
          const x = column.of(a.row), y = column.of(b.row);
          if (!known(x) || !known(y)) return known(x) ? -1 : known(y) ? 1 : 0;
          const less = column.word ? String(x).localeCompare(String(y), 'en', {numeric: true}) : x - y;
          return down ? less : -less;
        };
        body.append(...shown.slice().sort(order).map((x) => x.element));
      });
      return head;
    });
    if (options.filter) {
      const search = make('input', {type: 'search', placeholder: 'Filter', 'aria-label': 'Filter the table'});
      const left = make('span', {class: 'note', 'aria-live': 'polite'}, rows.length + ' rows');
      search.addEventListener('input', () => {
        const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        let kept = 0;
        for (const {element} of shown) {
          const text = element.textContent.toLowerCase();
          element.hidden = !words.every((word) => text.includes(word));
          kept += element.hidden ? 0 : 1;
        }
        left.textContent = kept + ' of ' + rows.length + ' rows';
      });
      part.append(make('div', {class: 'tools'}, search, left));
    }
    part.append(make('div', {class: 'scroll'}, make('table', {}, make('thead', {}, make('tr', {}, ...heads)), body)));
  };

  // -- Charts -------------------------------------------------------------------------------------

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  /// `build(palette)` gives Chart.js its configuration; called again when the colours change.
  const chart = (part, label, build, width) => {
    const canvas = make('canvas', {role: 'img', 'aria-label': label});
    const box = make('div', {class: 'chart'}, canvas);
    if (width) Object.assign(box.style, {minWidth: width + 'px', height: '420px'});  // Long names below.
    part.append(width ? make('div', {class: 'chart-scroll'}, box) : box);
    const entry = {draw() {
      if (entry.chart) entry.chart.destroy();
      entry.chart = new Chart(canvas, build());
    }};
    entry.draw();
    charts.push(entry);
    return entry;
  };
  const redraw = () => charts.forEach((entry) => entry.draw());
  const axis = (title, show) => ({
    title: {display: Boolean(title), text: title, color: colour('quiet')},
    ticks: Object.assign({color: colour('quiet')}, show ? {callback: (x) => show(x)} : {}),
    grid: {color: colour('line')}, beginAtZero: true});
  const common = (extra) => Object.assign({responsive: true, maintainAspectRatio: false, animation: false}, extra);

  /// Bars that hang between the figure before and after each pass; the outer ones stand on the ground.
  const waterfall = (part, title, start, steps, show) => {
    const labels = ['as read', ...steps.map((s) => s.name), 'result'];
    const ends = [start, ...steps.map((s) => s.value)];
    const last = ends[ends.length - 1];
    const bars = [[0, start], ...steps.map((s, i) => [ends[i], s.value]), [0, last]];
    chart(part, title + ' over the passes: ' + labels.map((l, i) => l + ' ' + show(bars[i][1])).join(', '), () => ({
      type: 'bar',
      data: {labels, datasets: [{data: bars, borderWidth: 1.5, borderSkipped: false, minBarLength: 2,
        borderColor: bars.map((b, i) => colour(i === 0 || i === labels.length - 1 ? 'text' : b[1] > b[0] ? 'more' : 'less')),
        backgroundColor: bars.map((b, i) => i === 0 ? 'transparent' : i === labels.length - 1 ? colour('after') : colour(b[1] > b[0] ? 'more' : 'less'))}]},
      options: common({
        plugins: {legend: {display: false}, title: {display: true, text: title, color: colour('text')},
          tooltip: {callbacks: {label: (x) => show(x.raw[1]) + (x.dataIndex > 0 && x.dataIndex < labels.length - 1 ? ' (' + signed(change(x.raw[0], x.raw[1])) + ')' : '')}}},
        scales: {x: Object.assign(axis(''), {grid: {display: false}}), y: axis('', show)}})}));
  };

  /// Before and after, layer by layer; the outline is before, the filled bar is after.
  const layerChart = (part, layers, measures) => {
    const choice = make('select', {'aria-label': 'What the bars show'},
      ...measures.map((m, i) => make('option', {value: String(i)}, m.title)));
    part.append(make('div', {class: 'tools'}, make('label', {}, 'Bars show ', choice)));
    const pair = (layer, m) => [m.of(layer, 'before'), m.of(layer, 'after')];
    const entry = chart(part, 'Layers before and after', () => {
      const m = measures[Number(choice.value)];
      return {type: 'bar',
        data: {labels: layers.map((l) => l.name), datasets: [
          {label: 'before', data: layers.map((l) => pair(l, m)[0]), backgroundColor: 'transparent', borderColor: colour('text'), borderWidth: 1},
          {label: 'after', data: layers.map((l) => pair(l, m)[1]), backgroundColor: colour('after'), borderColor: colour('after'), borderWidth: 1}]},
        options: common({
          plugins: {legend: {labels: {color: colour('text')}},
            tooltip: {callbacks: {label: (x) => x.dataset.label + ': ' + m.show(x.raw)}}},
          scales: {x: Object.assign(axis(''), {grid: {display: false},
            ticks: {color: colour('quiet'), autoSkip: layers.length > 120, maxRotation: 90,
              callback(i) { const n = this.getLabelForValue(i); return n.length > 22 ? '...' + n.slice(-20) : n; }}}),
            y: axis(m.title, m.show)}})};
    }, layers.length > 40 ? Math.min(16 * layers.length, 12000) : 0);
    choice.addEventListener('change', entry.draw);
  };

  // -- What both kinds show -----------------------------------------------------------------------

  const figures = [
    ['MACs', 'macs', count], ['GOP (2 per MAC)', 'gop', digits], ['other operations', 'other_ops', count],
    ['parameters', 'parameters', count], ['weights', 'weight_bytes', bytes],
    ['activations moved', 'activation_bytes', bytes], ['DRAM traffic', 'dram_bytes', bytes],
    ['energy per inference', 'energy_joules', si('J')], ['power', 'power_watts', si('W')]];
  const totals = (part, a, b, names) => {
    table(part, [
      {title: 'figure', of: (r) => r[0], word: true},
      {title: names[0], of: (r) => a[r[1]], show: (x) => x}, {title: names[1], of: (r) => b[r[1]], show: (x) => x},
      {title: 'change', of: (r) => change(a[r[1]], b[r[1]]), show: signed, change: true}], []);
    const body = part.querySelector('tbody');
    for (const [title, key, show] of figures) {
      const d = change(a[key], b[key]);
      body.append(make('tr', {}, make('td', {class: 'word'}, title), make('td', {}, show(a[key])),
        make('td', {}, show(b[key])), make('td', {class: d < 0 ? 'less' : d > 0 ? 'more' : 'same'}, signed(d))));
    }
    part.querySelectorAll('th').forEach((head) => head.replaceChildren(head.textContent));
  };
  const cards = (a, b) => root.append(make('div', {class: 'cards'}, ...[
    ['gop', 'GOP', digits], ['parameters', 'parameters', count], ['weight_bytes', 'weights', bytes],
    ['energy_joules', 'energy per inference', si('J')]].map(([key, title, show]) =>
    make('div', {class: 'card'}, make('b', {}, signed(change(a[key], b[key]))),
      make('span', {}, title + ': ' + show(a[key]) + ' to ' + show(b[key]))))));
  const layerMeasures = [
    {title: 'MACs', key: 'macs', show: si('')}, {title: 'energy', key: 'energy_joules', show: si('J')},
    {title: 'weight bytes', key: 'weight_bytes', show: bytes},
    {title: 'activation bytes', key: 'activation_bytes', show: bytes},
    {title: 'output channels', key: 'channels', show: count}];
  for (const m of layerMeasures) m.of = (layer, side) => layer[side] ? layer[side][m.key] : null;

  const layerSection = (layers, names) => {
    if (!layers.length) return;
    const working = layers.filter((l) => ['before', 'after'].some((s) => l[s] && l[s].macs > 0));
    const part = section('Layers', 'The outline is ' + names[0] + ', the filled bar ' + names[1] + '. A layer that is missing on one side shows a dash.');
    if (working.length) layerChart(part, working, layerMeasures);
    const two = layerMeasures.flatMap((m) => ['before', 'after'].map((side) =>
      ({title: m.title + ' ' + side, of: (l) => m.of(l, side), show: m.show})));
    table(part, [{title: 'layer', of: (l) => l.name, word: true}, {title: 'operator', of: (l) => l.op, word: true},
      {title: 'type before', of: (l) => l.before && l.before.weight_type, word: true},
      {title: 'type after', of: (l) => l.after && l.after.weight_type, word: true},
      ...two, {title: 'MACs change', of: (l) => change(l.before && l.before.macs, l.after && l.after.macs), show: signed, change: true}],
    layers, {filter: true});
  };
  const facts = (part, pairs) => part.append(make('dl', {}, ...pairs.filter((p) => known(p[1]) && p[1] !== '')
    .flatMap(([key, value]) => [make('dt', {}, key), make('dd', {}, String(value))])));

  // -- A run of a pipeline --------------------------------------------------------------------------

  const showRun = () => {
    const a = report.totals_before, b = report.totals_after;
    root.append(make('h1', {}, report.model), make('p', {class: 'quiet'}, 'made into ' + report.output + ' by ' + report.tool));
    cards(a, b);
    if (report.warnings.length) {
      section('Warnings').append(make('ul', {class: 'warnings'}, ...report.warnings.map((w) => make('li', {}, w))));
    }
    totals(section('Before and after', 'Of one inference; power at ' + digits(report.estimate.inferences_per_second) + ' inferences per second, estimated with ' + report.estimate.energy_table + '.'), a, b, ['before', 'after']);
    const over = section('Passes', 'What each pass took away. Agreement, KL and SQNR compare with the model as read.');
    const grid = make('div', {class: 'charts'});
    over.append(grid);
    const steps = (key) => report.passes.map((p) => ({name: p.name, value: p.after[key]}));
    waterfall(grid, 'GOP', a.gop, steps('gop'), (x) => digits(x, 3));
    waterfall(grid, 'Energy per inference', a.energy_joules, steps('energy_joules'), si('J'));
    const numerics = (key, show) => ({title: key.replace('_db', ' dB').replace('sqnr', 'SQNR').replace('kl', 'KL'), of: (p) => p.numerics && p.numerics[key], show});
    table(over, [{title: 'after', of: (p) => p.name, word: true}, {title: 'GOP', of: (p) => p.after.gop, show: digits},
      {title: 'parameters', of: (p) => p.after.parameters, show: count}, {title: 'weights', of: (p) => p.after.weight_bytes, show: bytes},
      {title: 'energy', of: (p) => p.after.energy_joules, show: si('J')}, numerics('agreement', percent), numerics('kl', digits), numerics('sqnr_db', (x) => digits(x, 3)),
      {title: 'time', of: (p) => p.seconds, show: seconds}], report.passes);
    layerSection(report.layers || [], ['before', 'after']);
    const left = report.left_alone || [];
    if (left.length) {
      table(section('What was left alone, and why', 'Channels that pruning could not take, and nodes whose work is not counted.'), [
        {title: 'layer', of: (l) => l.name, word: true}, {title: 'channels', of: (l) => l.channels, show: count},
        {title: 'that stay', of: (l) => l.pinned, show: count}, {title: 'why', of: (l) => l.reason, word: true}], left, {filter: true});
    }
    const said = report.passes.flatMap((p) => Object.entries(p.stats).map(([key, value]) => ({pass: p.name, key, value})));
    // Lists tell of each layer or set of channels; their curves stay in the JSON report.
    const plain = (x) => !known(x) ? '-' : typeof x !== 'number' ? String(x) : Number.isInteger(x) ? count(x) : digits(x);
    for (const {pass, key, value} of said.filter((s) => Array.isArray(s.value))) {
      const keys = [...new Set(value.flatMap((row) => Object.keys(row)))].filter((k) => !value.some((row) => Array.isArray(row[k])));
      table(section(pass + ': ' + key), keys.map((k, i) => ({title: k, of: (row) => row[k] ?? null, word: i === 0, show: plain})), value, {filter: true});
    }
    const figures = said.filter((s) => !Array.isArray(s.value));
    if (figures.length) {
      table(section('What the passes say'), [{title: 'pass', of: (s) => s.pass, word: true}, {title: 'what', of: (s) => s.key, word: true},
        {title: 'figure', of: (s) => s.value, word: true, show: plain}], figures, {filter: true});
    }
    const how = section('How it was run');
    facts(how, [['tool', report.tool], ['model', report.model], ['SHA-256', report.model_sha256], ['result', report.output],
      ['pipeline', report.pipeline], ...Object.entries(report.options), ['energy table', report.estimate.energy_table + ' (' + report.estimate.energy_table_source + ')'],
      ['convention', report.estimate.convention], ['on-chip buffer', bytes(report.estimate.buffer_bytes)], ['time', seconds(report.seconds)]]);
    how.append(make('pre', {}, report.pipeline_text));
  };

  // -- Two models side by side ----------------------------------------------------------------------

  const showComparison = () => {
    const {a, b} = report;
    root.append(make('h1', {}, a.name + ' and ' + b.name), make('p', {class: 'quiet'}, 'compared by ' + (report.tool || 'pare') + '; energy estimated with ' + a.estimate));
    cards(a.totals, b.totals);
    if (a.estimate !== b.estimate) section('Warnings').append(make('p', {}, 'The second was estimated with ' + b.estimate + ': the energies are not comparable.'));
    totals(section('Totals', 'Of one inference.'), a.totals, b.totals, [a.name, b.name]);
    const rules = report.rules || [];
    if (rules.length) {
      table(section('Rules'), [{title: 'fails if', of: (r) => r.rule, word: true}, {title: 'outcome', of: (r) => r.failed ? 'FAILED' : 'passed', word: true},
        {title: 'figures', of: (r) => r.figures, word: true}], rules);
    }
    layerSection((report.layers || []).map((l) => ({name: l.name, op: l.op, before: {macs: l.macs_a}, after: {macs: l.macs_b}})), ['the first', 'the second']);
  };

  (report.totals_before ? showRun : showComparison)();
  root.append(make('p', {class: 'note'}, 'Charts by Chart.js (MIT licence). This file asks the network for nothing.'));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  addEventListener('beforeprint', redraw);
  addEventListener('afterprint', redraw);
})();
