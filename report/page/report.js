// Shows the document that stands in #data: a run of a pipeline, a comparison or a diagnosis.
'use strict';
(() => {
  const {root, known, count, digits, percent, si, bytes, change, signed, seconds, relative, make} = kit;
  const {head, section, facts, choice, table, waterfall, pairBars, scatter, densities} = kit;
  const report = JSON.parse(document.getElementById('data').textContent);
  const decibel = (x) => known(x) ? digits(x, 3) : 'exact';

  // -- Before and after -------------------------------------------------------------------------

  const figures = [
    ['MACs', 'macs', count], ['GOP (2 per MAC)', 'gop', digits], ['other operations', 'other_ops', count],
    ['parameters', 'parameters', count], ['weights', 'weight_bytes', bytes],
    ['activations moved', 'activation_bytes', bytes], ['DRAM traffic', 'dram_bytes', bytes],
    ['energy per inference', 'energy_joules', si('J')], ['power', 'power_watts', si('W')]];
  const totals = (part, a, b, names) => table(part, [
    {title: 'figure', of: (r) => r[0], word: true}, {title: names[0], of: (r) => r[2](a[r[1]])}, {title: names[1], of: (r) => r[2](b[r[1]])},
    {title: 'change', of: (r) => change(a[r[1]], b[r[1]]), show: signed, change: true}], figures, {fixed: true});
  const card = (value, text) => make('div', {class: 'card'}, make('b', {}, value), make('span', {}, text));
  const cards = (a, b, more = []) => root.append(make('div', {class: 'cards'}, ...[
    ['gop', 'GOP', digits], ['parameters', 'parameters', count], ['weight_bytes', 'weights', bytes],
    ['energy_joules', 'energy per inference', si('J')]].map(([key, title, show]) =>
    card(signed(change(a[key], b[key])), title + ': ' + show(a[key]) + ' to ' + show(b[key]))), ...more));

  // -- Layers -----------------------------------------------------------------------------------

  const measures = [
    {title: 'MACs', key: 'macs', show: si('')}, {title: 'energy', key: 'energy_joules', show: si('J')},
    {title: 'weight bytes', key: 'weight_bytes', show: bytes},
    {title: 'activation bytes', key: 'activation_bytes', show: bytes},
    {title: 'channels', key: 'channels', show: count}, {title: 'weight bits', key: 'weight_bits', show: count}];
  for (const m of measures) m.of = (layer, side) => layer[side] ? layer[side][m.key] : null;

  const layerSection = (layers, names, shown) => {
    if (!layers.length) return;
    const working = layers.filter((l) => ['before', 'after'].some((s) => l[s] && l[s].macs > 0));
    const part = section('Layers', 'The outline is ' + names[0] + ', the filled bar ' + names[1] + '. A layer that is missing on one side shows a dash.');
    if (working.length) pairBars(part, working, shown, names);
    const two = shown.flatMap((m) => ['before', 'after'].map((side, i) =>
      ({title: m.title + ' ' + names[i], of: (l) => m.of(l, side), show: m.show})));
    const kinds = layers.some((l) => l.before && known(l.before.weight_type)) ? ['before', 'after'].map((side, i) =>
      ({title: 'type ' + names[i], of: (l) => l[side] && l[side].weight_type, word: true})) : [];
    table(part, [{title: 'layer', of: (l) => l.name, word: true}, {title: 'operator', of: (l) => l.op, word: true}, ...kinds,
      ...two, {title: 'MACs change', of: (l) => change(l.before && l.before.macs, l.after && l.after.macs), show: signed, change: true}],
    layers, {filter: true});
  };

  /// layers: [{name, kind, cost, sqnr_db, ...}].
  const errorChart = (part, layers, error, cost) => {
    const points = layers.filter((l) => l.error > 0 && l.cost > 0).map((l) => ({x: l.cost, y: l.error, name: l.name, kind: l.kind}));
    if (points.length) scatter(part, error.title + ' against ' + cost.title + ', one point a layer', points, cost, error);
    const rest = layers.length - points.length;
    if (rest) part.append(make('p', {class: 'note'}, count(rest) + (rest === 1 ? ' layer is' : ' layers are') + ' not drawn: no error, or no work of its own any more.'));
  };
  const spreads = (part, layers, titles) => {
    const sets = (l) => [[['before', l.weights_before], ['after', l.weights_after]], [['before', l.result_before], ['after', l.result_after]]];
    choice(part, 'Layer', layers.map((l, i) => [i, l.name + ' (' + l.note + ')']), (i) =>
      sets(layers[Number(i)]).forEach((s, k) => update[k](s)));
    const grid = make('div', {class: 'charts'});
    part.append(grid);
    const update = sets(layers[0]).map((s, k) => densities(grid, titles[k], s));
  };

  const errorSection = (layers) => {
    const measured = layers.filter((l) => l.error);
    if (!measured.length) return;
    const worst = measured.slice().sort((a, b) => (relative(b.error.sqnr_db) ?? 0) - (relative(a.error.sqnr_db) ?? 0));
    const part = section('Error of the layers', 'How far each layer\'s result is from what it was, as the layers behind it read it; of a layer that lost channels, those that are left. ' +
      'High on the left: cheap layers that could take more bits or channels. Low on the right: costly layers that could take fewer.');
    const kindOf = (l) => !l.after ? 'gone' : l.after.weight_type + (l.after.channels < l.before.channels ? ', fewer channels' : '');
    errorChart(part, measured.map((l) => ({name: l.name, kind: kindOf(l), cost: l.after ? l.after.macs : 0, error: relative(l.error.sqnr_db)})),
      {title: 'relative error', show: percent}, {title: 'MACs after', show: si('')});
    table(part, [{title: 'layer', of: (l) => l.name, word: true}, {title: 'relative error', of: (l) => relative(l.error.sqnr_db) ?? 0, show: percent},
      {title: 'SQNR dB', of: (l) => l.error.sqnr_db, show: decibel}, {title: 'cosine', of: (l) => l.error.cosine, show: (x) => digits(x, 5)},
      {title: 'largest error', of: (l) => l.error.max_abs_error, show: (x) => digits(x, 3)},
      {title: 'MACs after', of: (l) => l.after && l.after.macs, show: count}, {title: 'energy after', of: (l) => l.after && l.after.energy_joules, show: si('J')}],
    worst, {filter: true});
    spreads(section('Distributions', 'Of weights and results, the layer with the largest error first. The line is before, the filled area after.'),
      worst.map((l) => Object.assign({name: l.name, note: percent(relative(l.error.sqnr_db) ?? 0) + ' error'}, l.distributions)),
      ['Weights', 'Result']);
  };

  // -- A run of a pipeline ------------------------------------------------------------------------

  const passSection = () => {
    const part = section('Passes', 'What each pass took away. Agreement, KL and SQNR compare with the model as read.');
    const grid = make('div', {class: 'charts'});
    part.append(grid);
    const steps = (key) => report.passes.map((p) => ({name: p.name, value: p.after[key]}));
    waterfall(grid, 'GOP', report.totals_before.gop, steps('gop'), (x) => digits(x, 3));
    waterfall(grid, 'Energy per inference', report.totals_before.energy_joules, steps('energy_joules'), si('J'));
    const numerics = (title, key, show) => ({title, of: (p) => p.numerics && p.numerics[key], show});
    table(part, [{title: 'after', of: (p) => p.name, word: true}, {title: 'GOP', of: (p) => p.after.gop, show: digits},
      {title: 'parameters', of: (p) => p.after.parameters, show: count}, {title: 'weights', of: (p) => p.after.weight_bytes, show: bytes},
      {title: 'energy', of: (p) => p.after.energy_joules, show: si('J')}, numerics('agreement', 'agreement', percent), numerics('KL', 'kl', digits),
      numerics('SQNR dB', 'sqnr_db', (x) => digits(x, 3)), {title: 'time', of: (p) => p.seconds, show: seconds}], report.passes);
  };

  const leftSection = () => {
    const left = report.left_alone || [];
    if (!left.length) return;
    table(section('What was left alone, and why', 'Channels that pruning could not take, and nodes whose work is not counted.'), [
      {title: 'layer', of: (l) => l.name, word: true}, {title: 'channels', of: (l) => l.channels, show: count},
      {title: 'that stay', of: (l) => l.pinned, show: count}, {title: 'why', of: (l) => l.reason, word: true}], left, {filter: true});
  };

  // Lists tell of each layer or set of channels; their curves stay in the JSON report.
  const statSections = () => {
    const said = report.passes.flatMap((p) => Object.entries(p.stats).map(([key, value]) => ({pass: p.name, key, value})));
    const plain = (x) => !known(x) ? '-' : typeof x !== 'number' ? String(x) : Number.isInteger(x) ? count(x) : digits(x);
    for (const {pass, key, value} of said.filter((s) => Array.isArray(s.value))) {
      const keys = [...new Set(value.flatMap((row) => Object.keys(row)))].filter((k) => !value.some((row) => Array.isArray(row[k])));
      table(section(pass + ': ' + key), keys.map((k, i) => ({title: k, of: (row) => row[k] ?? null, word: i === 0 || value.some((row) => typeof row[k] === 'string'), show: plain})), value, {filter: true});
    }
    const single = said.filter((s) => !Array.isArray(s.value));
    if (!single.length) return;
    table(section('What the passes say'), [{title: 'pass', of: (s) => s.pass, word: true}, {title: 'what', of: (s) => s.key, word: true},
      {title: 'figure', of: (s) => s.value, word: true, show: plain}], single, {filter: true});
  };

  const originSection = () => {
    const nodes = report.nodes || [], removed = report.removed || [];
    if (!nodes.length) return;
    const part = section('Where the nodes come from', 'Every node of the result, and the nodes of the original it stands for. A node that stands for none was put there by a pass.');
    table(part, [{title: 'node', of: (n) => n.name, word: true}, {title: 'operator', of: (n) => n.op, word: true},
      {title: 'stands for', of: (n) => n.stands_for.join(', ') || '-', word: true}, {title: 'put there by', of: (n) => n.made_by, word: true}], nodes, {filter: true});
    if (!removed.length) return;
    part.append(make('p', {class: 'quiet'}, 'Nodes of the original that nothing stands for any more:'));
    table(part, [{title: 'node', of: (n) => n.name, word: true}, {title: 'operator', of: (n) => n.op, word: true}, {title: 'removed by', of: (n) => n.pass, word: true}], removed, {filter: true});
  };

  const howSection = () => {
    const how = section('How it was run');
    facts(how, [['tool', report.tool + (report.build ? ' (' + report.build + ')' : '')], ['model', report.model], ['SHA-256 of it', report.model_sha256], ['result', report.output],
      ['SHA-256 of it', report.output_sha256], ['pipeline', report.pipeline], ...Object.entries(report.options),
      ['energy table', report.estimate.energy_table + ' (' + report.estimate.energy_table_source + ')'], ['convention', report.estimate.convention],
      ['on-chip buffer', bytes(report.estimate.buffer_bytes)], ['time', seconds(report.seconds)]]);
    how.append(make('pre', {}, report.pipeline_text));
  };

  const showRun = () => {
    const a = report.totals_before, b = report.totals_after;
    head(report.model, 'made into ' + report.output + ' by ' + report.tool);
    const last = report.passes.filter((p) => p.numerics).pop();
    cards(a, b, last ? [card(percent(last.numerics.agreement), 'same best class as the original, of ' + count(last.numerics.samples) + ' samples')] : []);
    if (report.warnings.length) section('Warnings').append(make('ul', {class: 'warnings'}, ...report.warnings.map((w) => make('li', {}, w))));
    totals(section('Before and after', 'Of one inference; power at ' + digits(report.estimate.inferences_per_second) + ' inferences per second, estimated with ' + report.estimate.energy_table + '.'), a, b, ['before', 'after']);
    passSection();
    layerSection(report.layers || [], ['before', 'after'], measures);
    errorSection(report.layers || []);
    leftSection();
    statSections();
    originSection();
    howSection();
  };

  // -- Two models side by side ----------------------------------------------------------------------

  const showComparison = () => {
    const {a, b} = report;
    head(a.name + ' and ' + b.name, 'compared by pare; energy estimated with ' + a.estimate);
    cards(a.totals, b.totals);
    if (a.estimate !== b.estimate) section('Warnings').append(make('p', {}, 'The second was estimated with ' + b.estimate + ': the energies are not comparable.'));
    totals(section('Totals', 'Of one inference.'), a.totals, b.totals, [a.name, b.name]);
    const rules = report.rules || [];
    if (rules.length) {
      table(section('Rules'), [{title: 'fails if', of: (r) => r.rule, word: true}, {title: 'outcome', of: (r) => r.failed ? 'FAILED' : 'passed', word: true},
        {title: 'figures', of: (r) => r.figures, word: true}], rules);
    }
    layerSection((report.layers || []).map((l) => ({name: l.name, op: l.op, before: {macs: l.macs_a}, after: {macs: l.macs_b}})), [a.name, b.name], measures.slice(0, 1));
  };

  // -- What quantization does to each layer -----------------------------------------------------------

  const showDiagnosis = () => {
    const {layers, outputs} = report;
    head(report.quantized + ' against ' + report.original, 'layer by layer, by ' + report.tool);
    root.append(make('div', {class: 'cards'}, card(percent(outputs.agreement), 'same best class as the original'), card(digits(outputs.kl, 3), 'KL of the outputs, nats'),
      card(decibel(outputs.sqnr_db) + ' dB', 'SQNR of the outputs'), card(layers.length ? layers[0].name : '-', 'does most harm alone')));
    const part = section('Layers', 'The one that does most harm first. Alone: the outputs of the original with only this layer quantized.');
    errorChart(part, layers.map((l) => ({name: l.name, kind: l.weight_bits + ' bits', cost: l.macs, error: relative(l.alone.sqnr_db)})),
      {title: 'error of the outputs, alone', show: percent}, {title: 'MACs', show: si('')});
    const alone = (title, key, show) => ({title: title + ' alone', of: (l) => l.alone[key], show});
    table(part, [{title: 'layer', of: (l) => l.name, word: true}, {title: 'operator', of: (l) => l.op, word: true}, {title: 'bits', of: (l) => l.weight_bits}, {title: 'MACs', of: (l) => l.macs, show: count},
      alone('KL', 'kl', (x) => digits(x, 3)), alone('SQNR dB', 'sqnr_db', decibel), alone('agreement', 'agreement', percent), {title: 'SQNR dB', of: (l) => l.result.sqnr_db, show: decibel},
      {title: 'cosine', of: (l) => l.result.cosine, show: (x) => digits(x, 5)}, {title: 'largest error', of: (l) => l.result.max_abs_error, show: (x) => digits(x, 3)},
      {title: 'weight SQNR dB', of: (l) => l.weight_sqnr_db, show: decibel}], layers, {filter: true});
    if (layers.length) {
      spreads(section('Distributions', 'The line is the original, the filled area the quantized network.'), layers.map((l) => ({name: l.name, note: l.weight_bits + ' bits',
        weights_before: l.weights, weights_after: l.weights_quantized, result_before: l.activations, result_after: l.activations_quantized})), ['Weights', 'Result']);
    }
    if (report.unmatched.length) section('Without a partner in the original').append(make('ul', {}, ...report.unmatched.map((name) => make('li', {}, name))));
  };

  (report.totals_before ? showRun : report.a ? showComparison : showDiagnosis)();
  root.append(make('p', {class: 'note'}, 'Charts by Chart.js (MIT licence). This file asks the network for nothing.'));
})();
