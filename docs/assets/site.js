// Search, light and dark, and copying of commands. The pages are whole without it.
(() => {
  const { index: indexAddress, base } = document.currentScript.dataset;
  const find = (name) => document.querySelector(`[data-md-component=${name}]`);
  document.documentElement.classList.replace("no-js", "js");

  // Light and dark: as the system has it, until somebody chooses.
  const choices = [...document.querySelectorAll("[data-md-color-media]")].filter((e) => e.id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = (chosen) => {
    choices.forEach((input, at) => {
      input.checked = at === chosen;
      const label = input.nextElementSibling;
      if (label) label.hidden = at !== chosen;
    });
    const scheme = choices[chosen].dataset.mdColorScheme;
    document.body.setAttribute("data-md-color-scheme", scheme);
  };
  const stored = __md_get("__palette");
  show(stored ? stored.index : Number(dark.matches));
  dark.addEventListener("change", () => __md_get("__palette") || show(Number(dark.matches)));
  choices.forEach((input, at) =>
    input.addEventListener("change", () => {
      const { mdColorMedia: media, mdColorScheme: scheme, mdColorPrimary: primary, mdColorAccent: accent } =
        input.dataset;
      __md_set("__palette", { index: at, color: { media, scheme, primary, accent } });
      show(at);
    }),
  );

  // Search: the index is fetched when somebody wants to search, and not before.
  const toggle = document.getElementById("__search");
  const query = find("search-query");
  const list = document.querySelector(".md-search-result__list");
  const meta = document.querySelector(".md-search-result__meta");
  const plain = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;
  let pages;
  const load = () =>
    (pages ??= fetch(indexAddress)
      .then((answer) => answer.json())
      .then(({ docs }) =>
        docs.map(({ location, title, text, boost = 1 }) => {
          const words = plain(text);
          return { location, boost, title: plain(title), words, low: words.toLowerCase() };
        }),
      ));
  const count = (text, word) => text.split(word).length - 1;
  const score = (page, words) => {
    const title = page.title.toLowerCase();
    let sum = 0;
    for (const word of words) {
      const found = 50 * count(title, word) + Math.min(count(page.low, word), 20);
      if (!found) return 0;
      sum += found;
    }
    return sum * page.boost;
  };
  const excerpt = (page, word) => {
    const at = Math.max(0, page.low.indexOf(word) - 60);
    return (at ? "… " : "") + page.words.slice(at, at + 220).replace(/\s+/g, " ");
  };
  const entry = (page, word) => {
    const item = document.createElement("li");
    item.className = "md-search-result__item";
    const link = document.createElement("a");
    link.className = "md-search-result__link";
    link.href = `${base}/${page.location}`;
    const box = document.createElement("article");
    box.className = "md-search-result__article md-typeset";
    const title = document.createElement("h1");
    title.textContent = page.title;
    const text = document.createElement("p");
    text.textContent = excerpt(page, word);
    box.append(title, text);
    link.append(box);
    item.append(link);
    return item;
  };
  const search = async () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) {
      list.replaceChildren();
      meta.textContent = "Type to search";
      return;
    }
    const asked = query.value;
    const all = await load();
    if (asked !== query.value) return;
    const found = all
      .map((page) => [score(page, words), page])
      .filter(([points]) => points)
      .sort(([a], [b]) => b - a);
    meta.textContent = found.length === 1 ? "1 place" : `${found.length} places`;
    list.replaceChildren(...found.slice(0, 30).map(([, page]) => entry(page, words[0])));
  };
  const open = () => {
    toggle.checked = true;
    load();
  };
  const close = () => {
    toggle.checked = false;
    query.blur();
  };
  meta.textContent = "Type to search";
  query.addEventListener("focus", open);
  query.addEventListener("input", search);
  query.form.addEventListener("submit", (event) => event.preventDefault());
  query.form.addEventListener("reset", () => setTimeout(() => (query.focus(), search())));
  toggle.addEventListener("change", () => toggle.checked && query.focus());
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    const typing = document.activeElement === query;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      query.focus();
    }
    if (toggle.checked && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const links = [query, ...list.querySelectorAll("a")];
      const at = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      links[Math.min(Math.max(at, 0), links.length - 1)].focus();
      event.preventDefault();
    }
  });
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    query.value = asked;
    open();
    search();
  }

  // A button that copies what is to be typed.
  if (navigator.clipboard)
    for (const code of document.querySelectorAll(".language-sh code, .language-python code")) {
      const button = document.createElement("button");
      button.className = "site-copy";
      button.type = "button";
      button.textContent = "copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
        setTimeout(() => (button.textContent = "copy"), 1500);
      });
      code.parentElement.append(button);
    }
})();
