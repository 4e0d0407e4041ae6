"""Style sheet and script of the report page, kept apart from the code that writes its content."""

STYLE = """
:root { color-scheme: light dark;
  --back: #f6f7f9; --panel: #ffffff; --text: #1f2328; --quiet: #626b76; --line: #dfe3e8; --soft: #eef1f5;
  --blue: #005a8f; --orange: #9c4100; --blue-back: #e3f0f8; --orange-back: #fbeadd; }
@media (prefers-color-scheme: dark) { :root {
  --back: #14171b; --panel: #1c2026; --text: #dde2e8; --quiet: #99a2ad; --line: #333a43; --soft: #242a32;
  --blue: #6cc0f0; --orange: #f5a06a; --blue-back: #17364a; --orange-back: #472a18; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3.6rem; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Noto Sans", "DejaVu Sans", sans-serif; }
nav { position: sticky; top: 0; z-index: 2; display: flex; gap: 1.4rem; overflow-x: auto; padding: .65rem max(1.2rem, calc(50vw - 570px));
  background: var(--panel); border-bottom: 1px solid var(--line); white-space: nowrap; font-size: .93rem; }
a { color: var(--blue); text-decoration: none; }
a:hover { text-decoration: underline; }
main { max-width: 1180px; margin: 0 auto; padding: 1.4rem 20px 4rem; }
h1 { font-size: 1.75rem; margin: .4rem 0 .2rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 .5rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.9rem 0 .5rem; }
h4 { font-size: .95rem; margin: 0; }
p { max-width: 78ch; margin: .4rem 0 .9rem; }
.about, .note, figcaption, .quiet { color: var(--quiet); }
.note, figcaption { font-size: .87rem; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 1.1rem 0 1.4rem; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem; display: flex;
  flex-direction: column; font-size: .86rem; }
.tile span, .tile small { color: var(--quiet); }
.tile b { font-size: 1.5rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
.tile.main { border-color: var(--blue); box-shadow: inset 0 0 0 1px var(--blue); }
.tile.main b { color: var(--blue); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 16px; align-items: start; }
figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
figure img { display: block; width: 100%; max-width: 640px; height: auto; }
figcaption { margin-top: .5rem; max-width: 60ch; }
@media (min-width: 900px) { figure:only-child { grid-column: 1 / -1; display: grid; grid-template-columns: minmax(0, 600px) 1fr;
  gap: 2rem; align-items: center; } }
.scroll { overflow-x: auto; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .38rem .8rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; }
thead th { color: var(--quiet); font-weight: 500; border-bottom: 1px solid var(--line); }
tbody tr + tr > * { border-top: 1px solid var(--soft); }
td.ours { font-weight: 650; }
.beside { background: var(--soft); }
.bar { display: flex; flex-wrap: wrap; gap: .7rem; justify-content: space-between; margin-top: 1.1rem; }
.bar[hidden] { display: none; }
.filters, .turn { display: flex; gap: .4rem; align-items: center; flex-wrap: wrap; }
button { font: inherit; font-size: .9rem; color: var(--text); background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  padding: .32rem .8rem; cursor: pointer; }
button:hover { border-color: var(--quiet); }
button:focus-visible, a:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
button[aria-pressed=true] { border-color: var(--blue); color: var(--blue); background: var(--blue-back); }
button small { color: var(--quiet); }
#place { min-width: 6.5rem; text-align: center; font-size: .9rem; font-variant-numeric: tabular-nums; }
.scale { display: flex; gap: .5rem; align-items: center; margin: .8rem 0; font-size: .82rem; color: var(--quiet); }
.scale i { width: 150px; height: .7rem; border-radius: 3px; border: 1px solid var(--line);
  background: linear-gradient(90deg, rgba(213,94,0,.55), rgba(128,128,128,0), rgba(0,114,178,.55)); }
.hint { margin-left: auto; }
.example { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.1rem 1.2rem; margin-bottom: 1rem; }
.example[hidden] { display: none; }
.example > header, .solution > header { display: flex; flex-wrap: wrap; gap: .3rem .7rem; align-items: center; }
.example > header a { font-size: .87rem; }
.outcome { margin-left: auto; font-size: .87rem; padding: .12rem .65rem; border-radius: 6px; background: var(--soft); }
.outcome.fixed, .pick { background: var(--blue-back); color: var(--blue); }
.outcome.broken, .outcome.wrong { background: var(--orange-back); color: var(--orange); }
.question { font-size: 1.05rem; white-space: pre-wrap; overflow-wrap: anywhere; margin-bottom: .2rem; }
.gold { color: var(--quiet); }
.gold b { color: var(--text); }
.solution { border: 1px solid var(--line); border-radius: 8px; padding: .75rem .9rem; min-width: 0; }
.solution.chosen { border-color: var(--blue); box-shadow: inset 0 0 0 1px var(--blue); }
.solution > header { font-size: .87rem; margin-bottom: .5rem; }
.right { color: var(--blue); }
.wrong { color: var(--orange); }
.pick { padding: .05rem .55rem; border-radius: 6px; }
.orm { margin-left: auto; display: flex; align-items: center; gap: .5rem; font-variant-numeric: tabular-nums; }
.meter { width: 70px; height: .5rem; border-radius: 3px; background: var(--soft); overflow: hidden; display: inline-block; }
.meter i { display: block; height: 100%; background: var(--quiet); }
.chosen .meter i { background: var(--blue); }
.refined { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-top: 12px; }
.steps { width: 100%; border-collapse: separate; border-spacing: 0 3px; }
.steps th, .steps td { padding: .3rem .6rem; border: 0; vertical-align: top; width: 1%; }
.steps tbody tr > * { background: var(--tint, var(--soft)); border: 0; }
.steps tbody th { border-left: 4px solid var(--edge, var(--line)); color: var(--quiet); }
.steps .step { text-align: left; white-space: normal; overflow-wrap: anywhere; width: auto; }
.bad { color: var(--orange); background: var(--orange-back); border: 1px solid var(--orange); border-radius: 4px; padding: 0 .3rem; font-size: .85em; }
.calc { color: var(--quiet); font-size: .9em; }
ol { margin: 0; padding-left: 1.7rem; font-size: .92rem; }
li { padding: .12rem 0; overflow-wrap: anywhere; }
li::marker { color: var(--quiet); }
li.same, li.same .calc { color: var(--quiet); }
li:not(.same) { font-weight: 550; }
@media (max-width: 720px) { .refined { grid-template-columns: 1fr; } .hint, .steps .quiet, .steps .orm-head { display: none; }
  .steps th, .steps td { padding: .3rem .4rem; } .example, .solution { padding-inline: .7rem; }
  .outcome { margin-left: 0; } }
@media print { nav, .bar, .scale { display: none; } }
"""

SCRIPT = """
(() => {
  const section = document.getElementById("examples");
  const cards = [...section.querySelectorAll(".example")];
  if (!cards.length) return;
  const place = document.getElementById("place"), none = document.getElementById("none");
  const filters = [...section.querySelectorAll("[data-filter]")];
  let shown = cards, at = 0;

  const show = i => {
    at = shown.length ? (i + shown.length) % shown.length : 0;
    cards.forEach(card => { card.hidden = card !== shown[at]; });
    none.hidden = shown.length > 0;
    place.textContent = shown.length ? `${at + 1} of ${shown.length}` : "none";
  };
  const choose = kind => {
    filters.forEach(b => b.setAttribute("aria-pressed", String(b.dataset.filter === kind)));
    shown = cards.filter(card => kind === "all" || card.dataset.kinds.split(" ").includes(kind));
    show(0);
  };
  const follow = () => {
    const i = cards.findIndex(card => "#" + card.id === location.hash);
    if (i < 0) return;
    choose("all");
    show(i);
    section.scrollIntoView();
  };

  filters.forEach(b => b.addEventListener("click", () => choose(b.dataset.filter)));
  section.querySelectorAll("[data-turn]").forEach(b => b.addEventListener("click", () => show(at + Number(b.dataset.turn))));
  document.addEventListener("keydown", event => {
    const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!turn || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const box = section.getBoundingClientRect();
    if (box.top > innerHeight || box.bottom < 0) return;  // turning unseen pages would only confuse
    event.preventDefault();
    show(at + turn);
  });
  addEventListener("hashchange", follow);
  section.querySelector(".bar").hidden = false;
  show(0);
  follow();
})();
"""
