// Opens pages in Chromium as readers do, and says what is wrong with them: `node test.js [FOLDER] [--bad FOLDER]`.
//
// Every page is looked at wide and narrow, by day and by night, and on paper. Exits 1 where anything is found, or where a
// fault that was planted in a page of `--bad` is not; exits 2 where nothing could be looked at.

const fs = require('fs');
const path = require('path');
const { pathToFileURL, fileURLToPath } = require('url');
const { chromium } = require('playwright-core');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const IN_PAGE = fs.readFileSync(path.join(__dirname, 'in_page.js'), 'utf8');

// A sheet of A4 without its margins is 180 mm wide.
const PAPER = 680;
const VIEWS = [
  { name: '1280 light', width: 1280, colorScheme: 'light', media: 'screen' },
  { name: '1280 dark', width: 1280, colorScheme: 'dark', media: 'screen' },
  { name: '390 light', width: 390, colorScheme: 'light', media: 'screen' },
  { name: '390 dark', width: 390, colorScheme: 'dark', media: 'screen' },
  { name: 'print', width: PAPER, colorScheme: 'light', media: 'print' },
];
const WCAG = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** Every page under `folder`, sorted, so that two runs say the same. */
function pagesUnder(folder) {
  const entries = fs.readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) return pagesUnder(at);
    return entry.name.endsWith('.html') ? [at] : [];
  });
}

/** What kind of page it is, by what lies beside it, and its language where its name has one: `experiment ko`. */
function kindOf(page) {
  const [stem, language] = path.basename(page, '.html').split('.');
  const beside = (name) => fs.existsSync(path.join(path.dirname(page), name));
  const files = [['explanation.json', 'explanation'], ['trace.json', 'trace'], ['timing.json', 'step times'], ['runs.json', 'experiment']];
  const kind = stem === 'index' ? (files.find(([file]) => beside(file)) || [null, 'index'])[1] : stem;
  return language ? `${kind} ${language}` : kind;
}

/** Ids of a page that a link leads to, read once. */
const idsOf = (() => {
  const known = new Map();
  return (file) => {
    if (!known.has(file)) {
      const ids = [...fs.readFileSync(file, 'utf8').matchAll(/ id="([^"]*)"/g)].map((match) => match[1]);
      known.set(file, new Set(ids));
    }
    return known.get(file);
  };
})();

/** Links that lead nowhere, or out of the folder of pages: a copy of the folder must stay whole. */
function deadLinks(page, root, links) {
  const own = new Set(links.ids);
  return links.hrefs.flatMap(({ href, element }) => {
    const dead = (why) => [{ rule: 'dead-link', element, why: `${href}: ${why}` }];
    const url = new URL(href, pathToFileURL(page));
    if (url.protocol !== 'file:') return dead('not a file');
    const anchor = decodeURIComponent(url.hash.slice(1));
    url.hash = '';
    const file = fileURLToPath(url);
    if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return dead('no such file');
    if (path.relative(root, file).startsWith('..')) return dead('outside the folder of pages');
    const ids = file === page ? own : idsOf(file);
    return anchor && !ids.has(anchor) ? dead('no such place') : [];
  });
}

/** A tab that is used for page after page, and what it asked for and complained of meanwhile. */
class Tab {
  static async open(browser, options = {}) {
    const context = await browser.newContext({ ...options, reducedMotion: 'reduce' });
    const tab = new Tab();
    tab.notes = [];
    // Only files are let through, so that a test of pages asks no stranger for anything either.
    await context.route('**', (route) => (route.request().url().startsWith('file:') ? route.continue() : route.abort()));
    if (options.javaScriptEnabled !== false) await context.addInitScript(`${IN_PAGE};${AXE}`);
    tab.page = await context.newPage();
    tab.page.on('request', (request) => tab.note('network', request.url(), /^(file|data):/.test(request.url())));
    tab.page.on('console', (message) => tab.note('console', message.text(), message.type() !== 'error'));
    tab.page.on('pageerror', (error) => tab.note('console', String(error), false));
    return tab;
  }

  note(rule, element, isFine) {
    if (!isFine) this.notes.push({ rule, element, why: '' });
  }

  async goto(file) {
    this.notes = [];
    await this.page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
  }

  async show(view) {
    await this.page.setViewportSize({ width: view.width, height: 900 });
    await this.page.emulateMedia({ media: view.media, colorScheme: view.colorScheme });
  }
}

/** What axe finds under the rules of WCAG A and AA; half of its time goes into contrast, which in_page.js looks at too. */
async function axe(page, isWhole) {
  const violations = await page.evaluate(async ([tags, contrast]) => {
    const rules = { 'color-contrast': { enabled: contrast } };
    const options = { runOnly: { type: 'tag', values: tags }, rules, resultTypes: ['violations'], iframes: false };
    const { violations: found } = await axe.run(document, options);
    return found.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => [node.target.join(' '), node.any[0]?.message || '']) }));
  }, [WCAG, isWhole]);
  return violations.flatMap(({ id, nodes }) => nodes.map(([element, why]) => ({ rule: `axe ${id}`, element, why })));
}

/** Values under the pointer and under the keys: the first mark of each of the first pictures that have any. */
async function pointing(page) {
  const found = [];
  const MARK = '[data-value]';
  const pictures = page.locator(`svg:visible:has(${MARK})`);
  const count = Math.min(await pictures.count(), 3);
  const said = async () => page.evaluate(() => {
    const tip = document.querySelector('[role="status"]');
    return tip && tip.checkVisibility({ checkVisibilityCSS: true }) ? tip.textContent : '';
  });
  // A busy machine says it later; an error is what is never said.
  const heard = async (isRight, again = async () => {}) => {
    let text = await said();
    for (let wait = 0; wait < 40 && !isRight(text); wait += 1) {
      await page.waitForTimeout(50);
      await again(wait);
      text = await said();
    }
    return text;
  };
  // What is scrolled to is told in a later frame, and a page that scrolls takes away what it said.
  const settled = () => page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
  const isNothing = (text) => !text;
  for (let index = 0; index < count; index += 1) {
    const picture = pictures.nth(index);
    const element = await picture.evaluate((svg) => window.__pages.name(svg));
    const mark = picture.locator(MARK).last();
    const value = await mark.getAttribute('data-value');
    await mark.scrollIntoViewIfNeeded();
    await settled();
    const box = await mark.boundingBox();
    // A hand is never quite still: where a busy browser tells of the scroll even later, the next small move says it again.
    const over = async (turn) => page.mouse.move(box.x + box.width / 2 + (turn % 2) / 2, box.y + box.height / 2);
    await over(0);
    // Another mark may lie over it: what is said must be a value of this picture.
    const values = await picture.locator(MARK).evaluateAll((marks) => marks.map((one) => one.getAttribute('data-value')));
    if (!values.includes(await heard((text) => values.includes(text), over))) found.push({ rule: 'pointer', element, why: `"${value}" is not said under the pointer` });
    await page.mouse.move(0, 0);
    if (await heard(isNothing)) found.push({ rule: 'pointer', element, why: 'what was said stays when the pointer is gone' });
    // Strips stand by the dozen beside their numbers; the keys stop at figures.
    if (await picture.evaluate((svg) => svg.classList.contains('strip'))) continue;
    await picture.focus();
    await page.keyboard.press('ArrowRight');
    const first = await heard((text) => text === values[0]);
    await page.keyboard.press('ArrowRight');
    const second = await heard((text) => text === values[Math.min(1, values.length - 1)]);
    if (first !== values[0] || second !== values[Math.min(1, values.length - 1)]) {
      found.push({ rule: 'pointer', element, why: `arrow keys say "${first}", then "${second}"` });
    }
    await page.keyboard.press('Escape');
    if (await heard(isNothing)) found.push({ rule: 'pointer', element, why: 'Escape does not close what is said' });
  }
  return { found, count };
}

/** A heading is a button: Enter sorts by it. */
async function sortingByKey(page) {
  const button = page.locator('th button:visible').first();
  if (!(await button.count())) return [];
  await button.focus();
  await page.keyboard.press('Enter');
  const isSorted = await button.evaluate((it) => it.closest('th').getAttribute('aria-sort') === 'ascending');
  const element = await button.evaluate((it) => window.__pages.name(it));
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  return isSorted ? [] : [{ rule: 'sorting', element, why: 'Enter does not sort by it' }];
}

/** Everything that is wrong with one page: findings with the view they were made in, and what was tried. */
async function look(tabs, file, root, isSample) {
  const { page } = tabs.scripted;
  const findings = [];
  const add = (view, found) => findings.push(...found.map((one) => ({ ...one, view })));
  await tabs.scripted.show(VIEWS[0]);
  await tabs.scripted.goto(file);
  await page.evaluate(() => window.__pages.unfold());
  const content = await page.evaluate(() => window.__pages.content());
  add('links', deadLinks(file, root, await page.evaluate(() => window.__pages.links())));
  for (const view of VIEWS) {
    await tabs.scripted.show(view);
    add(view.name, await page.evaluate(() => {
      const { sideways, overprinted, dim } = window.__pages;
      return [...sideways(), ...overprinted(), ...dim()];
    }));
    if (isSample || view === VIEWS[0]) add(view.name, await axe(page, isSample));
  }
  await tabs.scripted.show(VIEWS[0]);
  const sorting = await page.evaluate(() => window.__pages.sorting());
  const pointer = await pointing(page);
  // Without this a page whose marks have all lost their values would have nothing to fail at.
  if (!pointer.count && kindOf(file).startsWith('experiment') && (await page.locator('figure svg.wide:visible').count())) {
    add('script', [{ rule: 'pointer', element: 'figure', why: 'no figure says a value' }]);
  }
  add('script', [...sorting.found, ...(await sortingByKey(page)), ...pointer.found]);

  await tabs.plain.goto(file);
  await tabs.plain.page.evaluate(`${IN_PAGE}; window.__pages.unfold()`);
  const plain = await tabs.plain.page.evaluate(() => window.__pages.content());
  for (const key of ['text', 'seen']) {
    const at = [...content[key]].findIndex((letter, index) => letter !== plain[key][index]);
    if (content[key] !== plain[key]) {
      const from = Math.max(0, at < 0 ? content[key].length : at);
      add('no script', [{ rule: 'needs-script', element: 'body', why: `"${content[key].slice(from, from + 60)}" is "${plain[key].slice(from, from + 60)}" without` }]);
    }
  }
  add('any', tabs.scripted.notes);
  return { findings, sorted: sorting.sorted, pictures: pointer.count };
}

/** The largest page of each kind, for what takes seconds: everything that a page of the kind may have is most likely there. */
function samples(files) {
  const largest = new Map();
  const size = (file) => fs.statSync(file).size;
  files.forEach((file) => {
    const known = largest.get(kindOf(file));
    if (!known || size(known) < size(file)) largest.set(kindOf(file), file);
  });
  return new Set(largest.values());
}

/** Looks at `files` with as many workers as there is to gain from, in the order they come. */
async function lookAtAll(browser, files, root, sampled = samples(files)) {
  const results = new Array(files.length);
  let next = 0;
  const work = async () => {
    const tabs = { scripted: await Tab.open(browser), plain: await Tab.open(browser, { javaScriptEnabled: false }) };
    await tabs.plain.show(VIEWS[0]);
    while (next < files.length) {
      const index = next;
      next += 1;
      results[index] = await look(tabs, files[index], root, sampled.has(files[index]));
    }
  };
  await Promise.all([work(), work()]);
  return results;
}

/** Findings by kind of page and view. */
function table(files, results) {
  const columns = [...VIEWS.map((view) => view.name), 'links', 'script', 'no script', 'any'];
  const kinds = new Map();
  files.forEach((file, index) => {
    const row = kinds.get(kindOf(file)) || { pages: 0, sorted: 0, pictures: 0, counts: columns.map(() => 0) };
    row.pages += 1;
    row.sorted += results[index].sorted;
    row.pictures += results[index].pictures;
    results[index].findings.forEach(({ view }) => { row.counts[columns.indexOf(view)] += 1; });
    kinds.set(kindOf(file), row);
  });
  const lines = [['kind', 'pages', ...columns, 'sorted', 'pointed at']];
  for (const [kind, row] of [...kinds].sort()) lines.push([kind, row.pages, ...row.counts, row.sorted, row.pictures]);
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => String(line[column]).length)));
  const pad = (cell, column) => (column ? String(cell).padStart(widths[column]) : String(cell).padEnd(widths[column]));
  return lines.map((line) => line.map(pad).join('  ')).join('\n');
}

/** Pages with planted faults: each says in a meta element which rules it breaks, and must be caught by these and no other. */
async function missedFaults(browser, folder) {
  const files = pagesUnder(folder);
  const results = await lookAtAll(browser, files, folder);
  const missed = files.flatMap((file, index) => {
    const planted = fs.readFileSync(file, 'utf8').match(/<meta name="planted" content="([^"]*)">/)[1].split(', ').sort();
    const caught = [...new Set(results[index].findings.map(({ rule }) => rule))].sort();
    const same = planted.join(', ') === caught.join(', ');
    return same ? [] : [`${path.basename(file)}: planted ${planted.join(', ')}; caught ${caught.join(', ') || 'nothing'}`];
  });
  return { count: files.length, missed };
}

// As columns of tables have them, each in its order; what has no value is last both ways.
const ORDERS = [
  ['850 ms', '12.3 s', '1 min 05 s', '2 h 03 min', '–'],
  ['512 B', '1.5 KiB', '638.1 MiB', '1.2 GiB', '–'],
  ['−1,200.5', '−0.25', '<0.001', '+3.1', '48,000'],
  ['0.98 (0.90 to 1.20)', '1.02× ± 0.3', '29.8 %', '30', '–'],
  ['64, linear', '64, square root', '128, linear', '1024, linear', '–'],
  ['batch 8', 'batch 64', 'batch 128', 'batch 1024', '–'],
  ['0e12ab', '8e0078fe2acd', '12e456', 'b196a432f87a', '–'],
  ['350 밀리초', '4초', '1분 5초', '2시간 3분', '–'],
];

/** Sorting by what is no plain number, which pages do not have everywhere: columns that do not come out in their order. */
async function misordered(browser) {
  const script = fs.readFileSync(path.join(__dirname, '../../templates/script.js'), 'utf8');
  const { page } = await Tab.open(browser);
  const shuffled = [3, 0, 4, 2, 1];
  const rows = shuffled.map((row) => `<tr>${ORDERS.map((order) => `<td>${order[row].replace('<', '&lt;')}</td>`).join('')}</tr>`);
  const head = ORDERS.map((_, column) => `<th>${column}</th>`).join('');
  await page.setContent(`<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table><script>${script}</script>`);
  const found = [];
  for (const [column, order] of ORDERS.entries()) {
    const down = order.includes('–') ? [...order.slice(0, -1).reverse(), '–'] : [...order].reverse();
    for (const expected of [order, down]) {
      await page.locator('th button').nth(column).click();
      const cells = await page.locator(`tbody tr td:nth-child(${column + 1})`).allTextContents();
      if (cells.join(' | ') !== expected.join(' | ')) found.push(`sorted ${cells.join(' | ')}; expected ${expected.join(' | ')}`);
    }
  }
  await page.context().close();
  return found;
}

async function main(argv) {
  const bad = argv.includes('--bad') ? argv.splice(argv.indexOf('--bad'), 2)[1] : null;
  const root = path.resolve(argv[0] || 'reports');
  const files = pagesUnder(root);
  if (!files.length) throw new Error(`there is no page under ${root}`);
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  const browser = await chromium.launch({ executablePath });
  const began = Date.now();
  let failed = false;
  try {
    if (bad) {
      const { count, missed } = await missedFaults(browser, path.resolve(bad));
      const wrong = await misordered(browser);
      [...missed, ...wrong].forEach((line) => console.error(line));
      console.log(`planted faults: ${count - missed.length} of ${count} pages caught as planted; ${ORDERS.length} columns sorted, ${wrong.length} wrongly`);
      failed = missed.length + wrong.length > 0;
    }
    const results = await lookAtAll(browser, files, root);
    results.forEach(({ findings }, index) => findings.forEach(({ view, rule, element, why }) => {
      console.error(`${path.relative(root, files[index])} · ${view} · ${rule} · ${element}${why ? ` · ${why}` : ''}`);
    }));
    console.log(table(files, results));
    const sampled = [...samples(files)].map((file) => path.relative(root, file)).sort().join(', ');
    console.log(`axe with all its rules, in all views: ${sampled}; without its contrast, wide by day: the rest. All else: every page in all views`);
    const found = results.reduce((sum, { findings }) => sum + findings.length, 0);
    console.log(`${files.length} pages, ${found} findings, ${((Date.now() - began) / 1000).toFixed(0)} s, Chromium ${browser.version()}`);
    failed ||= found > 0;
  } finally {
    await browser.close();
  }
  return failed ? 1 : 0;
}

main(process.argv.slice(2)).then((code) => { process.exitCode = code; }, (error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
});
