"use strict";
const BLOBS = new Map([...document.querySelectorAll(".trees")].map(s => [s.dataset.problem, s.textContent.trim()]));
const opened = new Map();
const view = { problem: "", planner: "", budget: 0, shown: 0, folded: new Set(), tree: null, picked: 0 };

async function open(problem) {
  if (!opened.has(problem)) {
    const bytes = Uint8Array.from(atob(BLOBS.get(problem)), c => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    opened.set(problem, await new Response(stream).json());
  }
  return opened.get(problem);
}

function nodesOf(tree, texts) {
  const nodes = tree.nodes.map(cells => Object.fromEntries(tree.columns.map((c, i) => [c, c === "text" ? texts[cells[i]] : cells[i]])));
  const byId = new Map(nodes.map(n => [n.node, n])), path = new Set(tree.path);
  nodes.forEach(n => { n.children = []; n.best = path.has(n.node); });
  nodes.forEach(n => { if (byId.has(n.parent) && n.parent !== n.node) { n.up = byId.get(n.parent); n.up.children.push(n); } });
  nodes.sort((a, b) => a.order - b.order);
  return nodes;
}

async function choose(problem, planner, budget) {
  const box = await open(problem);
  const names = [...new Set(box.trees.map(t => t.planner))];
  planner = names.includes(planner) ? planner : names[names.length - 1];
  const budgets = box.trees.filter(t => t.planner === planner).map(t => t.budget).sort((a, b) => a - b);
  budget = budgets.includes(budget) ? budget : budgets[budgets.length - 1];
  const tree = box.trees.find(t => t.planner === planner && t.budget === budget);
  Object.assign(view, { problem, planner, budget, tree: nodesOf(tree, box.texts), folded: new Set() });
  view.shown = view.tree.length;
  const options = (list, now) => list.map(x => `<option ${x === now ? "selected" : ""}>${esc(x)}</option>`).join("");
  $("pick-planner").innerHTML = options(names, planner);
  $("pick-budget").innerHTML = options(budgets, budget);
  $("pick-problem").value = problem;
  $("pick-order").max = view.shown; $("pick-order").value = view.shown;
  view.picked = (view.tree.filter(n => n.best).pop() || view.tree[0]).node;
  describe(); drawTree(); centre();
}

function describe() {
  const about = DATA.problems.find(p => p.id === view.problem);
  const outcome = DATA.outcomes.find(o => o[0] === view.problem && o[1] === view.planner && o[2] === view.budget);
  $("question").textContent = about.question;
  $("answer-line").innerHTML = outcome ? `${esc(view.planner)} answers <span class="${outcome[3] ? "right" : "wrong"}">${esc(outcome[4] ?? "nothing")}</span>; correct is <b>${esc(about.reference)}</b>. ${view.tree.length - 1} nodes.` : "";
}

const shadeOf = (value, low, high) => { const t = (value - low) / (high - low || 1); return `hsl(${212 - 8 * t}, ${38 + 34 * t}%, ${90 - 54 * Math.max(0, Math.min(1, t))}%)`; };
const shownValue = n => n.terminal === 1 ? n.reward : n.prior_value;

function drawTree() {
  const nodes = view.tree.slice(0, view.shown), alive = new Set(nodes), column = 172, row = 26;
  const values = view.tree.slice(1).filter(n => n.terminal !== 2 && !(n.duplicate_of >= 0)).map(shownValue).filter(isFinite), low = Math.min(...values), high = Math.max(...values);
  const most = Math.max(1, ...view.tree.slice(1).map(n => n.visits));
  let y = 0, widest = 0;
  const place = (n, depth) => {
    n.x = 16 + depth * column; widest = Math.max(widest, depth);
    const below = view.folded.has(n.node) ? [] : n.children.filter(c => alive.has(c)).sort((a, b) => a.slot - b.slot);
    n.drawn = below;
    if (!below.length) { n.y = 20 + row * y++; return; }
    below.forEach(c => place(c, depth + 1));
    n.y = (below[0].y + below[below.length - 1].y) / 2;
  };
  place(view.tree[0], 0);
  let lines = "", dots = "";
  const drawSubtree = n => {
    for (const c of n.drawn) {
      const mid = (n.x + 40 + c.x) / 2, hot = n.best && c.best;
      lines += `<path d="M${n.x},${n.y} C${mid},${n.y} ${mid},${c.y} ${c.x},${c.y}" fill="none" stroke="${hot ? "#ea580c" : "#c9d1da"}" stroke-width="${hot ? 3 : 1.2}"/>`;
      drawSubtree(c);
    }
    const r = 3.5 + 5.5 * Math.sqrt(n.visits / most), done = n.terminal === 1, twin = n.duplicate_of >= 0, root = n === view.tree[0];
    const text = root ? "" : !n.text ? "(empty line)" : n.text.length > 23 ? n.text.slice(0, 22) + "…" : n.text;
    const extra = view.folded.has(n.node) && n.children.length ? " +" : "";
    dots += `<g class="node" data-node="${esc(n.node)}" data-tip="${esc(root ? "the question" : n.text)}"><circle cx="${n.x}" cy="${n.y}" r="${Math.min(9, r)}" fill="${root ? "#1b2330" : twin || n.terminal === 2 ? "#fff" : shadeOf(shownValue(n), low, high)}" stroke="${n.node === view.picked ? "#1b2330" : done ? "#0d9488" : "#8d99a8"}" stroke-width="${done || n.node === view.picked ? 2.4 : 0.8}"${twin ? ' stroke-dasharray="2 2"' : ""}/>${n.terminal === 2 && !twin ? `<path d="M${n.x - 3},${n.y - 3} l6,6 m0,-6 l-6,6" stroke="#c2410c" stroke-width="1.6"/>` : ""}` +
      `<text x="${n.x + 12}" y="${n.y - (n.drawn.length && !root ? 8 : -4)}" style="paint-order:stroke;stroke:#fff;stroke-width:3px;font-weight:${n.best ? 600 : 400}${twin ? ";fill:#8d99a8" : ""}">${esc(text)}${extra}</text></g>`;
  };
  drawSubtree(view.tree[0]);
  $("tree").innerHTML = `<svg width="${16 + widest * column + 190}" height="${y * row + 24}">${lines}${dots}</svg>`;
  $("order-out").textContent = `${view.shown - 1} of ${view.tree.length - 1}`;
  detail(view.picked);
}

function centre() {
  const n = view.tree.find(n => n.node === view.picked);
  $("tree").scrollTo(0, n.y - $("tree").clientHeight / 2);
}

function detail(id) {
  const n = view.tree.find(n => n.node === id);
  if (!n) return;
  const path = [];
  for (let at = n; at && at.up; at = at.up) path.unshift(at);
  const facts = [["model's value", num(n.prior_value)], ["reward", num(n.reward)], ["mean return", num(n.value)], ["visits", n.visits], ["slot", n.slot], ["evaluated as", `${n.order}.`], ["node", n.node]];
  if (n.tokens != null) facts.push(["tokens", num(n.tokens)]);
  $("detail").innerHTML = `<h3>${path.length ? "From the question to this step" : "The question"}</h3><ol>${path.map(s => `<li>${esc(s.text)} <small style="color:var(--soft)">${num(shownValue(s), 2)}</small></li>`).join("")}</ol><dl>${facts.map(([k, v]) => `<dt>${k}</dt><dd>${esc(v)}</dd>`).join("")}</dl>`;
}

if (BLOBS.size && typeof DecompressionStream !== "undefined") {
  $("viewer").hidden = false;
  const has = DATA.problems.filter(p => BLOBS.has(p.id));
  const mark = p => PLANNERS.map(n => DATA.outcomes.find(o => o[0] === p.id && o[1] === n && o[2] === last(n).budget)).map(o => !o ? "·" : o[3] ? "✓" : "✗").join("");
  $("pick-problem").innerHTML = has.map(p => `<option value="${esc(p.id)}">${esc(p.id)} ${mark(p)}</option>`).join("");
  $("pick-problem").onchange = e => choose(e.target.value, view.planner, view.budget);
  $("pick-planner").onchange = e => choose(view.problem, e.target.value, view.budget);
  $("pick-budget").onchange = e => choose(view.problem, view.planner, +e.target.value);
  $("pick-order").oninput = e => { view.shown = +e.target.value; drawTree(); };
  $("tree").onclick = e => {
    const id = e.target.closest(".node")?.dataset.node;
    if (id == null) return;
    view.folded.has(+id) ? view.folded.delete(+id) : view.folded.add(+id);
    view.picked = +id; drawTree();
  };
  $("tree").onmouseover = e => { const id = e.target.closest(".node")?.dataset.node; if (id != null) detail(+id); };
  $("map").onclick = e => {
    const cell = e.target.closest("rect");
    if (cell && BLOBS.has(cell.dataset.problem)) choose(cell.dataset.problem, cell.dataset.planner, 0).then(() => $("viewer").scrollIntoView({ behavior: "smooth" }));
  };
  const tellApart = p => { const s = PLANNERS.map(n => DATA.outcomes.find(o => o[0] === p.id && o[1] === n && o[2] === last(n).budget)?.[3]); return new Set(s).size > 1; };
  choose((has.find(tellApart) || has[0]).id, ROWS.reduce((a, b) => b.score >= a.score ? b : a).planner, 0);
} else if (BLOBS.size) {
  $("map-say").textContent += " This browser is too old to unpack the trees (it lacks DecompressionStream).";
}
