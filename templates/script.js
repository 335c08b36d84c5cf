// Sorts tables by their headings and says the value of a mark under the pointer or the arrow keys.
// Whatever a page says stands on it without this: nothing is fetched, and nothing is shown that is not there.
(() => {
  'use strict';

  // Numbers and times as pages write them. A number that goes on as a word does, as a hash or `64, linear`, is a word.
  const SCALES = {
    ns: 1e-9, µs: 1e-6, ms: 1e-3, 밀리초: 1e-3, s: 1, 초: 1, min: 60, 분: 60, h: 3600, 시간: 3600,
    B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40,
  };
  const AMOUNT = /^[<≤≥>]?\s*([-+]?\d+(?:\.\d+)?)\s*([a-zµA-Z가-힣]*)/;

  function number(text) {
    let rest = text.replace(/−/g, '-').replace(/(\d),(?=\d{3}(?!\d))/g, '$1').trim();
    let sum = NaN;
    for (let part = AMOUNT.exec(rest); part; part = AMOUNT.exec(rest)) {
      const [whole, digits, unit] = part;
      const scale = unit === '' ? 1 : SCALES[unit];
      if (!scale) return NaN;
      sum = (Number.isNaN(sum) ? 0 : sum) + Number(digits) * scale;
      rest = rest.slice(whole.length).trim();
      if (unit === '') break;
    }
    return /^$|^[±%×(]/.test(rest) ? sum : NaN;
  }

  function said(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll('.note, svg').forEach((part) => part.remove());
    return copy.textContent.trim();
  }

  const words = new Intl.Collator(document.documentElement.lang || undefined, { numeric: true });

  /** Rows of a group stay together under its first. What has no value stays last, whichever way the rest goes. */
  function sort(rows, column, direction) {
    const keys = new Map(rows.map((row) => [row, said((row.rows ? row.rows[0] : row).cells[column])]));
    const isEmpty = (row) => /^[–—-]?$/.test(keys.get(row));
    const filled = rows.filter((row) => !isEmpty(row));
    const isNumeric = filled.every((row) => !Number.isNaN(number(keys.get(row))));
    const compare = isNumeric ? (a, b) => number(a) - number(b) : words.compare;
    filled.sort((a, b) => direction * compare(keys.get(a), keys.get(b)));
    return filled.concat(rows.filter(isEmpty));
  }

  function sortable(table) {
    const bodies = [...table.tBodies];
    const rows = bodies.length > 1 ? bodies : bodies.flatMap((body) => [...body.rows]);
    if (rows.length < 3 || !table.tHead) return;
    const parent = rows[0].parentNode;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const next = { ascending: 'descending', descending: null }[head.getAttribute('aria-sort')];
        const order = next === undefined ? 'ascending' : next;
        heads.forEach((other) => other.removeAttribute('aria-sort'));
        if (order) head.setAttribute('aria-sort', order);
        parent.append(...(order ? sort(rows, column, order === 'ascending' ? 1 : -1) : rows));
      });
    });
  }

  // One line for all pictures; screen readers say what it comes to hold.
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.setAttribute('role', 'status');

  const REACH = 24;
  const marks = new WeakMap();
  let current = null;

  function marksOf(picture) {
    if (!marks.has(picture)) marks.set(picture, [...picture.querySelectorAll('[data-value]')]);
    return marks.get(picture);
  }

  function place() {
    const box = current.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const above = box.top - own.height - 8;
    tip.style.left = `${Math.max(4, Math.min((box.left + box.right - own.width) / 2, room - own.width - 4))}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  }

  function say(mark) {
    if (mark === current) return;
    if (current) current.classList.remove('at');
    current = mark;
    tip.textContent = mark ? mark.dataset.value : '';
    if (!mark) return;
    mark.classList.add('at');
    place();
  }

  /** The mark nearest to a place, for dots are smaller than fingers. */
  function nearest(picture, x, y) {
    let [best, least] = [null, REACH];
    for (const mark of marksOf(picture)) {
      const { left, right, top, bottom } = mark.getBoundingClientRect();
      const away = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
      // Of two that lie over one another the later one is on top.
      if (away < least || (best && away === least)) [best, least] = [mark, away];
    }
    return best;
  }

  function step(event) {
    const all = marksOf(event.currentTarget);
    const at = all.indexOf(current);
    const to = { ArrowRight: at + 1, ArrowLeft: at < 0 ? all.length - 1 : at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (event.key === 'Escape') say(null);
    if (to === undefined) return;
    event.preventDefault();
    say(all[Math.max(0, Math.min(to, all.length - 1))]);
  }

  function pointable(picture) {
    if (!picture.querySelector('[data-value]')) return;
    picture.addEventListener('pointermove', (event) => say(nearest(picture, event.clientX, event.clientY)));
    picture.addEventListener('pointerdown', (event) => say(nearest(picture, event.clientX, event.clientY)));
    picture.addEventListener('pointerleave', () => say(null));
    // Strips stand by the dozen beside their numbers: a stop at each would be in the way.
    if (picture.classList.contains('strip')) return;
    picture.tabIndex = 0;
    picture.addEventListener('keydown', step);
    picture.addEventListener('blur', () => say(null));
  }

  document.body.append(tip);
  // A square of classes by classes says less in any other order.
  // A scoreboard stands in the order of its source.
  document.querySelectorAll('table:not(.confusion, .board)').forEach(sortable);
  document.querySelectorAll('svg.picture').forEach(pointable);
  // Whoever follows a link to something that is folded wants to see it.
  const unfold = () => {
    for (let at = document.getElementById(location.hash.slice(1)); at; at = at.parentElement) {
      if (at.localName === 'details') at.open = true;
    }
  };
  window.addEventListener('hashchange', unfold);
  unfold();
  // A picture that keys point at may just have been scrolled to; the pointer is elsewhere after it.
  document.addEventListener('scroll', () => {
    if (current && document.activeElement.contains(current) && document.activeElement !== document.body) place();
    else say(null);
  }, { passive: true });
})();
