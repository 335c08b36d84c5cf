// What is looked at inside a page. Injected before its own script, into a name that no page uses.
//
// Every check returns what is wrong as `{ rule, element, why }`, and nothing where all is well.

window.__pages = (() => {
  const words = (text) => (text || '').replace(/\s+/g, ' ').trim();

  /** `svg.picture.wide in #loss-by-step "label"`: enough to find it again. */
  function name(element) {
    const kind = element.tagName.toLowerCase();
    const id = element.id ? `#${element.id}` : '';
    const classes = [...element.classList].map((one) => `.${one}`).join('');
    const home = id ? null : element.parentElement && element.parentElement.closest('[id]');
    const text = words(element.textContent).slice(0, 40);
    return `${kind}${id}${classes}${home ? ` in #${home.id}` : ''}${text ? ` "${text}"` : ''}`;
  }

  const finding = (rule, element, why = '') => ({ rule, element: name(element), why });

  /** What is folded is content too: it is looked at unfolded. */
  function unfold() {
    document.querySelectorAll('details').forEach((details) => { details.open = true; });
  }

  function isShown(element) {
    if (!element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) return false;
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0;
  }

  /** The document never scrolls sideways; a table or a command may, inside its own frame. */
  function sideways() {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return [];
    const isFramed = (element) => {
      for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
        if (getComputedStyle(up).overflowX !== 'visible') return true;
      }
      return false;
    };
    const reaches = (element) => element.getBoundingClientRect().right + window.scrollX > room + 0.5;
    const wide = [...document.body.querySelectorAll('*')].filter((element) => reaches(element) && !isFramed(element));
    // The innermost ones are the cause; whatever holds them is only as wide as they are.
    const inner = wide.filter((element) => !wide.some((other) => other !== element && element.contains(other)));
    const why = `${document.documentElement.scrollWidth} px in ${room}`;
    return (inner.length ? inner.slice(0, 5) : [document.documentElement]).map((element) => finding('sideways', element, why));
  }

  /** The box of the letters: a text's own box has the height of a line, of which letters fill about two thirds. */
  function letters(text) {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    const spare = (bottom - top) * 0.15;
    return { left, right, top: top + spare, bottom: bottom - spare };
  }

  const labels = (svg) => [...svg.querySelectorAll('text')].filter((text) => words(text.textContent) && isShown(text));
  const pictures = () => [...document.querySelectorAll('svg')].filter(isShown);

  /** No two labels of a picture over one another, and none beyond its edge, where other things stand. */
  function overprinted() {
    const found = [];
    for (const svg of pictures()) {
      const edge = svg.getBoundingClientRect();
      const all = labels(svg).map((text) => ({ text, box: letters(text) })).sort((a, b) => a.box.left - b.box.left);
      all.forEach(({ text, box }, index) => {
        for (const other of all.slice(index + 1)) {
          if (other.box.left >= box.right - 0.5) break;
          if (other.box.top < box.bottom - 0.5 && other.box.bottom > box.top + 0.5) {
            found.push(finding('overprint', text, `over "${words(other.text.textContent)}"`));
          }
        }
        const beyond = Math.max(edge.left - box.left, box.right - edge.right, edge.top - box.top, box.bottom - edge.bottom);
        if (beyond > 1) found.push(finding('beyond-picture', text, `by ${beyond.toFixed(0)} px`));
      });
    }
    return found;
  }

  /** A computed colour of CSS as red, green, blue and opacity. */
  function colour(css) {
    const parts = (css.match(/[\d.]+/g) || []).map(Number);
    if (css.startsWith('color(srgb')) return [parts[0] * 255, parts[1] * 255, parts[2] * 255, parts[3] ?? 1];
    return css.startsWith('rgb') ? [parts[0], parts[1], parts[2], parts[3] ?? 1] : [0, 0, 0, 0];
  }

  /** `top` with its opacity, laid over `below` without one. */
  const over = (top, below) => top.slice(0, 3).map((part, index) => part * top[3] + below[index] * (1 - top[3]));

  function luminance(rgb) {
    const [r, g, b] = rgb.map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  /** What lies behind an element's letters: backgrounds may let through what is behind them. */
  function ground(element) {
    const layers = [];
    for (let up = element; up; up = up.parentElement) {
      const background = colour(getComputedStyle(up).backgroundColor);
      if (background[3] > 0) layers.push(background);
      if (background[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  }

  function contrast(ink, below) {
    const [light, dark] = [luminance(over(ink, below)), luminance(below)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  /** Letters against what is behind them, in every view of every page: axe takes seconds for it, and leaves out pictures. */
  function dim() {
    const found = [];
    const note = (element, ink, below, least) => {
      const ratio = contrast(ink, below);
      if (ratio < least) found.push(finding('contrast', element, `${ratio.toFixed(2)} : 1`));
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = new Set();
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (seen.has(element) || element.closest('svg, script, style') || !words(walker.currentNode.data) || !isShown(element)) continue;
      seen.add(element);
      const style = getComputedStyle(element);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      note(element, colour(style.color), ground(element), isLarge ? 3 : 4.5);
    }
    for (const svg of pictures()) {
      const areas = [...svg.querySelectorAll('rect')];
      for (const text of labels(svg)) {
        const box = text.getBoundingClientRect();
        const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
        const isBelow = (area) => {
          const { left, right, top, bottom } = area.getBoundingClientRect();
          const isBefore = area.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
          return isBefore && left <= x && x <= right && top <= y && y <= bottom;
        };
        const area = areas.filter(isBelow).pop();
        let below = ground(svg);
        if (area) {
          const style = getComputedStyle(area);
          const fill = colour(style.fill);
          below = over([...fill.slice(0, 3), fill[3] * Number(style.opacity) * Number(style.fillOpacity)], below);
        }
        note(text, colour(getComputedStyle(text).fill), below, 4.5);
      }
    }
    return found;
  }

  /** Where links lead and what may be led to. */
  function links() {
    const hrefs = [...document.querySelectorAll('a[href], area[href]')];
    return {
      hrefs: hrefs.map((link) => ({ href: link.getAttribute('href'), element: name(link) })),
      ids: [...document.querySelectorAll('[id]')].map((element) => element.id),
    };
  }

  /** All words of the page, and all that can be seen of it. */
  function content() {
    return { text: words(document.body.textContent), seen: words(document.body.innerText) };
  }

  const value = (text) => {
    const number = words(text).replace(/−/g, '-').replace(/(\d),(?=\d{3})/g, '$1').match(/^[^\d-]{0,2}?([-+]?\d+(\.\d+)?)/);
    return number ? Number(number[1]) : NaN;
  };

  /** The rows of a table as a reader tells them apart; `column` is of the first row of each group. */
  function rows(table) {
    const bodies = [...table.tBodies];
    return bodies.length > 1 ? bodies.map((body) => body.rows[0]) : bodies.flatMap((body) => [...body.rows]);
  }

  const plain = (text) => /^[−+-]?[\d,]+(\.\d+)?( ±.*)?$/.test(words(text));

  /** Clicks each heading of each table three times: up, down, and as it was. */
  function sorting() {
    const found = [];
    let sorted = 0;
    for (const table of document.querySelectorAll('table:not(.confusion, .board)')) {
      const before = rows(table);
      const allBefore = [...table.rows];
      const heads = [...(table.tHead ? table.tHead.rows[0].cells : [])];
      if (before.length < 3) continue;
      heads.forEach((head, column) => {
        const button = head.querySelector('button');
        if (!button) {
          found.push(finding('sorting', head, 'its table cannot be sorted by it'));
          return;
        }
        const cells = () => rows(table).map((row) => {
          const copy = row.cells[column].cloneNode(true);
          copy.querySelectorAll('.note, title').forEach((note) => note.remove());
          return words(copy.textContent);
        });
        const isNumeric = cells().every(plain);
        for (const direction of ['ascending', 'descending']) {
          button.click();
          if (head.getAttribute('aria-sort') !== direction) found.push(finding('sorting', head, `aria-sort is not ${direction}`));
          if (heads.filter((other) => other.hasAttribute('aria-sort')).length !== 1) found.push(finding('sorting', table, 'not one column is marked'));
          const numbers = cells().map(value);
          const sign = direction === 'ascending' ? 1 : -1;
          const isInOrder = numbers.every((number, index) => index === 0 || sign * (number - numbers[index - 1]) >= 0);
          if (isNumeric && !isInOrder) found.push(finding('sorting', head, `${direction}: ${cells().join(' | ')}`));
          sorted += isNumeric;
        }
        button.click();
        if (head.hasAttribute('aria-sort') || [...table.rows].some((row, index) => row !== allBefore[index])) {
          found.push(finding('sorting', head, 'the order it had does not come back'));
        }
      });
    }
    return { found, sorted };
  }

  return { unfold, sideways, overprinted, dim, links, content, sorting, name, words };
})();
