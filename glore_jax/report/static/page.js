// Shows one worked example at a time: filters, page turning by button and arrow key, links to one.
(() => {
  const section = document.getElementById("examples");
  const cards = [...section.querySelectorAll(".example")];
  if (!cards.length) return;
  const place = document.getElementById("place");
  const none = document.getElementById("none");
  const filters = [...section.querySelectorAll("[data-filter]")];
  const turns = [...section.querySelectorAll("[data-turn]")];
  let shown = cards; // those that the filter lets through
  let at = 0; // the one that is seen, an index into `shown`

  const show = i => {
    at = shown.length ? (i + shown.length) % shown.length : 0; // past either end is the other one
    cards.forEach(card => { card.hidden = card !== shown[at]; });
    none.hidden = shown.length > 0;
    place.textContent = shown.length ? `${at + 1} of ${shown.length}` : "none";
  };

  const choose = kind => {
    filters.forEach(b => b.setAttribute("aria-pressed", String(b.dataset.filter === kind)));
    shown = cards.filter(card => kind === "all" || card.dataset.kinds.split(" ").includes(kind));
    show(0);
  };

  // Goes to the example that the address names.
  const follow = () => {
    const i = cards.findIndex(card => "#" + card.id === location.hash);
    if (i < 0) return;
    choose("all");
    show(i);
    section.scrollIntoView();
  };

  filters.forEach(b => b.addEventListener("click", () => choose(b.dataset.filter)));
  turns.forEach(b => b.addEventListener("click", () => show(at + Number(b.dataset.turn))));
  document.addEventListener("keydown", event => {
    const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!turn || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const box = section.getBoundingClientRect();
    if (box.top > innerHeight || box.bottom < 0) return; // turning unseen pages would only confuse
    event.preventDefault();
    show(at + turn);
  });
  addEventListener("hashchange", follow);

  section.querySelector(".bar").hidden = false;
  show(0);
  follow();
})();
