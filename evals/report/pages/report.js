"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const SUMMARY = DATA.summary, ROWS = SUMMARY.rows, CONTROL = SUMMARY.kind === "control";
const PLANNERS = [...new Set(ROWS.map(r => r.planner))];
const COLORS = { greedy: "#6b7280", self_consistency: "#b7791f", best_of_n: "#0d9488", bfs: "#2563eb", beam: "#0284c7", mcts: "#d6336c", cem: "#7c3aed", mppi: "#ea580c", dvts: "#4d7c0f", rebase: "#9f1239" };
const SPARE = ["#be185d", "#4338ca", "#15803d", "#a16207", "#0e7490"];
const color = p => COLORS[p] || SPARE[PLANNERS.indexOf(p) % SPARE.length];
const $ = id => document.getElementById(id);
const esc = s => String(s ?? "").replace(/[&<>"']/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" }[c]));
const num = (x, d = 3) => x == null || !isFinite(x) ? "–" : Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en") : Math.abs(x) >= 100 ? x.toFixed(0) : x === 0 ? "0" : String(+x.toPrecision(d));
const fix = x => x == null ? "–" : CONTROL ? x.toFixed(1) : x.toFixed(3);
const sign = x => (x > 0 ? "+" : "") + fix(x);
const brief = x => (x > 0 ? "+" : "") + (CONTROL ? x.toFixed(0) : x.toFixed(2));
const short = x => x >= 1e12 ? +(x / 1e12).toPrecision(3) + "T" : x >= 1e9 ? +(x / 1e9).toPrecision(3) + "G" : x >= 1e6 ? x / 1e6 + "M" : x >= 1e3 ? x / 1e3 + "k" : String(+x.toPrecision(2));
const last = p => ROWS.filter(r => r.planner === p).reduce((a, b) => b.budget > a.budget ? b : a);
const hidden = new Set();

const tip = document.body.appendChild(Object.assign(document.createElement("div"), { id: "tip" }));
document.addEventListener("mousemove", e => {
  const text = e.target.closest && e.target.closest("[data-tip]");
  tip.style.display = text ? "block" : "none";
  if (!text) return;
  tip.textContent = text.dataset.tip;
  tip.style.left = Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = e.clientY + 16 + "px";
});

function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + 1e-9; t += step) found.push(+t.toFixed(10));
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
    for (const m of [1, 2, 5]) { const t = m * 10 ** e; if (t >= low * 0.999 && t <= high * 1.001) found.push(t); }
  return found.length > 7 ? found.filter(t => Math.abs(Math.log10(t) % 1) < 1e-9) : found;
}

function panel(axis) {
  const W = 390, H = 310, left = 46, right = 12, top = 10, bottom = 42;
  const at = r => DATA.axes[r.planner + "|" + r.budget][axis];
  const shown = ROWS.filter(r => r.low != null && at(r) > 0);  // a row without an interval has nothing but failures
  if (!shown.length) return "";
  const xs = shown.map(at), x0 = Math.min(...xs) / 1.25, x1 = Math.max(...xs) * 1.25;
  let y0 = Math.min(...shown.map(r => r.low)), y1 = Math.max(...shown.map(r => r.high));
  const pad = (y1 - y0) * 0.06 || 1;
  y0 = CONTROL ? y0 - pad : Math.max(0, y0 - pad); y1 = CONTROL ? y1 + pad : Math.min(1, y1 + pad);
  const X = x => left + (W - left - right) * Math.log(x / x0) / Math.log(x1 / x0);
  const Y = y => top + (H - top - bottom) * (1 - (y - y0) / (y1 - y0));
  let out = "";
  for (const t of ticks(y0, y1, 5)) out += `<line x1="${left}" x2="${W - right}" y1="${Y(t)}" y2="${Y(t)}" stroke="#e8ebef"/><text class="soft" x="${left - 7}" y="${Y(t) + 4}" text-anchor="end">${num(t)}</text>`;
  for (const t of logTicks(x0, x1)) out += `<line x1="${X(t)}" x2="${X(t)}" y1="${H - bottom}" y2="${H - bottom + 4}" stroke="#9aa4b1"/><text class="soft" x="${X(t)}" y="${H - bottom + 17}" text-anchor="middle">${short(t)}</text>`;
  const unit = { nodes: "nodes", tokens: "tokens computed", seconds: "seconds", flops: "floating-point operations" }[axis];
  out += `<line x1="${left}" x2="${W - right}" y1="${H - bottom}" y2="${H - bottom}" stroke="#9aa4b1"/><text x="${(W + left) / 2}" y="${H - 6}" text-anchor="middle">${unit} a ${CONTROL ? "decision" : "problem"}</text>`;
  for (const p of PLANNERS.filter(p => !hidden.has(p))) {
    const own = shown.filter(r => r.planner === p).sort((a, b) => a.budget - b.budget);
    if (!own.length) continue;
    const flat = Math.max(...own.map(at)) < Math.min(...own.map(at)) * 1.05;
    const band = own.map(r => `${X(at(r))},${Y(r.high)}`).concat(own.slice().reverse().map(r => `${X(at(r))},${Y(r.low)}`));
    if (own.length === 1) out += `<line x1="${X(at(own[0]))}" x2="${X(at(own[0]))}" y1="${Y(own[0].high)}" y2="${Y(own[0].low)}" stroke="${color(p)}" stroke-opacity=".35" stroke-width="5"/>`;
    else if (flat) out += `<line x1="${left}" x2="${W - right}" y1="${Y(own[0].score)}" y2="${Y(own[0].score)}" stroke="${color(p)}" stroke-dasharray="5 4" stroke-width="1.6"/><line x1="${X(at(own[0]))}" x2="${X(at(own[0]))}" y1="${Y(own[0].high)}" y2="${Y(own[0].low)}" stroke="${color(p)}" stroke-opacity=".35" stroke-width="5"/>`;
    else out += `<polygon points="${band.join(" ")}" fill="${color(p)}" opacity=".11"/><polyline points="${own.map(r => `${X(at(r))},${Y(r.score)}`).join(" ")}" fill="none" stroke="${color(p)}" stroke-width="2.2" stroke-linejoin="round"/>`;
    for (const r of own) out += `<circle cx="${X(at(r))}" cy="${Y(r.score)}" r="4" fill="${color(p)}" stroke="#fff" stroke-width="1.2" data-tip="${esc(`${p}, budget ${r.budget.toLocaleString("en")}\n${fix(r.score)} [${fix(r.low)}, ${fix(r.high)}]\n${num(at(r))} ${unit}`)}"/>`;
  }
  return `<svg viewBox="0 0 ${W} ${H}" role="img" aria-label="score against ${unit}">${out}</svg>`;
}

function drawCurves() {
  $("curves").innerHTML = ["nodes", "tokens", "seconds", "flops"].map(panel).join("");
  $("legend").innerHTML = PLANNERS.map(p => `<button class="${hidden.has(p) ? "off" : ""}" data-p="${esc(p)}"><i style="background:${color(p)}"></i>${esc(p)}</button>`).join("");
}
$("legend").onclick = e => {
  const p = e.target.closest("button")?.dataset.p;
  if (p) { hidden.has(p) ? hidden.delete(p) : hidden.add(p); drawCurves(); }
};

function drawMatrices() {
  const units = [...new Set(SUMMARY.comparisons.map(v => v.unit))];
  if (!units.length) { $("matrices").closest("section").hidden = true; return; }
  $("matrices").innerHTML = units.map(unit => {
    const cell = (a, b) => {
      const v = SUMMARY.comparisons.find(v => v.unit === unit && ((v.first[0] === a && v.second[0] === b) || (v.first[0] === b && v.second[0] === a)));
      if (a === b || !v) return "<td></td>";
      if (!v.comparable) return `<td data-tip="${esc(v.text)}"><small>–</small></td>`;
      const s = v.first[0] === a ? 1 : -1, edges = [s * v.low, s * v.high].sort((x, y) => x - y);
      const kind = v.clear ? (s > 0 ? "win" : "lose") : "";
      return `<td class="${kind}" data-tip="${esc(v.text)}">${brief(s * v.difference)}<br><small>[${edges.map(brief).join(", ")}]</small></td>`;
    };
    const head = unit === "equal charged tokens" ? "at equal charged tokens" : `at equal ${unit} (the largest budget)`;
    return `<div><h3>${esc(head)}</h3><table><tr><th></th>${PLANNERS.map(p => `<th>${esc(p)}</th>`).join("")}</tr>${PLANNERS.map(a => `<tr><td><b style="color:${color(a)}">${esc(a)}</b></td>${PLANNERS.map(b => cell(a, b)).join("")}</tr>`).join("")}</table></div>`;
  }).join("");
}

const NAMES = { model_calls: "calls", generated_tokens: "generated", prompt_tokens: "prompt", cached_tokens: "cached", value_tokens: "critic", flops: "FLOPs" };
let ledger = "charged";
function drawRows() {
  const names = ["charged", "spent", "completion"];
  const titles = { charged: "charged (as if alone)", spent: "spent (actual)", completion: "completion" };
  $("ledgers").innerHTML = names.map(n => `<button class="${n === ledger ? "on" : ""}" data-n="${n}">${titles[n]}</button>`).join("");
  const units = ["nodes", "model_calls", "generated_tokens", "prompt_tokens", "cached_tokens", "value_tokens", "seconds", "flops"].filter(u => ROWS.some(r => names.some(n => r[n][u])));
  const counts = [["unanswered", r => r.n - r.answered - r.failed], ["failed", r => r.failed], ["wrong format", r => r.wrong_format]].filter(([, f]) => ROWS.some(f));
  const measured = ROWS.filter(r => r.low != null), low = Math.min(...measured.map(r => r.low)), high = Math.max(...measured.map(r => r.high)), S = x => 4 + 64 * (x - low) / (high - low || 1);
  const bar = r => r.low == null ? "" : `<svg width="72" height="14"><line x1="${S(r.low)}" x2="${S(r.high)}" y1="7" y2="7" stroke="${color(r.planner)}" stroke-opacity=".4" stroke-width="5"/><circle cx="${S(r.score)}" cy="7" r="4" fill="${color(r.planner)}"/></svg>`;
  let out = `<tr><th>planner</th><th>budget</th><th>n</th><th>score</th><th>95 % interval</th><th></th><th>against</th><th>p</th>${units.map(u => `<th data-tip="${u}">${NAMES[u] || u}</th>`).join("")}${counts.map(([n]) => `<th>${n}</th>`).join("")}</tr>`, before = "";
  for (const r of ROWS) {
    const d = r.paired, kind = !d || !d.clear ? "" : d.difference > 0 ? "win" : "lose";
    out += `<tr class="${r.planner !== before ? "first" : ""}"><td><b style="color:${color(r.planner)}">${esc(r.planner)}</b></td><td${r.note ? ` data-tip="${esc(r.note)}"` : ""}>${r.budget.toLocaleString("en")}${r.note ? "<sup>†</sup>" : ""}</td><td>${r.n}</td><td><b>${r.low == null ? "–" : fix(r.score)}</b></td><td>${fix(r.low)} – ${fix(r.high)}</td><td>${bar(r)}</td>` +
      `<td class="${kind}">${d ? `${sign(d.difference)} <small>[${sign(d.low)}, ${sign(d.high)}]</small>` : "<small>–</small>"}</td><td>${d ? (d.p < 0.001 ? "&lt;0.001" : d.p.toFixed(3)) : ""}</td>` +
      units.map(u => `<td>${u === "flops" ? short(+r[ledger][u].toPrecision(3)) : num(r[ledger][u])}</td>`).join("") + counts.map(([, f]) => `<td>${f(r) || ""}</td>`).join("") + `</tr>`;
    before = r.planner;
  }
  const pair = ROWS.find(r => r.paired), notes = ROWS.filter(r => r.note);
  $("row-notes").textContent = notes.length ? "† " + notes.map(r => `${r.planner} ${r.budget.toLocaleString("en")}: ${r.note}`).join("; ") + "." : "";
  $("rows").innerHTML = out.replace("<th>against</th>", `<th>${pair ? "against " + esc(pair.paired.against) : ""}</th>`);
}
$("ledgers").onclick = e => { if (e.target.dataset.n) { ledger = e.target.dataset.n; drawRows(); } };

function drawGroups() {
  const names = [...new Set(ROWS.flatMap(r => Object.keys(r.groups || {})))].sort((a, b) => a - b || a.localeCompare(b));
  $("groups-section").hidden = names.length < 2;
  const cell = g => !g ? "<td></td>" : `<td style="background:rgba(13,148,136,${0.08 + 0.62 * g.score});color:${g.score > 0.75 ? "#fff" : "inherit"}" data-tip="${g.n} problems">${g.score.toFixed(2)}</td>`;
  $("groups").innerHTML = `<tr><th></th>${names.map(n => `<th>${esc(n)}</th>`).join("")}<th>all</th></tr>` + PLANNERS.map(p => { const r = last(p); return `<tr><td><b style="color:${color(p)}">${esc(p)}</b> <small>${r.budget.toLocaleString("en")}</small></td>${names.map(n => cell(r.groups[n])).join("")}${cell(r)}</tr>`; }).join("");
}

function drawMap() {
  const own = p => DATA.outcomes.filter(o => o[1] === p && o[2] === last(p).budget);
  const index = new Map(DATA.problems.map((p, i) => [p.id, i])), n = DATA.problems.length;
  const w = Math.max(3, Math.min(CONTROL ? 62 : 26, Math.floor(975 / n))), h = 22, left = 150;
  const scores = DATA.outcomes.map(o => o[3]), low = Math.min(...scores), high = Math.max(...scores);
  const shade = s => CONTROL ? `rgba(13,148,136,${0.06 + 0.9 * (s - low) / (high - low || 1)})` : s ? "#0d9488" : "#f3d3c3";
  let out = "";
  PLANNERS.forEach((p, k) => {
    out += `<text x="0" y="${k * h + 15}" style="fill:${color(p)};font-weight:600">${esc(p)}</text>`;
    for (const o of own(p)) {
      const [id, , budget, score, answer, failed] = o, what = failed ? "failed: " + failed : CONTROL ? fix(score) : `${score ? "right" : "wrong"}, answer ${answer ?? "none"}, correct ${DATA.problems[index.get(id)].reference}`;
      out += `<rect class="node" data-problem="${esc(id)}" data-planner="${esc(p)}" x="${left + index.get(id) * w}" y="${k * h + 2}" width="${w - (w > 5 ? 1.5 : 0.5)}" height="${h - 5}" rx="1.5" fill="${failed ? "#1b2330" : shade(score)}" data-tip="${esc(`${p}, budget ${budget}\n${CONTROL ? "episode" : "problem"} ${id}\n${what}`)}"/>`;
      if (CONTROL && w >= 40 && !failed) out += `<text x="${left + index.get(id) * w + w / 2 - 1}" y="${k * h + 15}" text-anchor="middle" style="fill:${(score - low) / (high - low || 1) > 0.55 ? "#fff" : "inherit"};pointer-events:none">${score.toFixed(0)}</text>`;
    }
  });
  $("map").innerHTML = `<svg width="${left + n * w + 4}" height="${PLANNERS.length * h + 4}">${out}</svg>`;
  $("map-say").textContent = CONTROL ? "One cell an episode at each planner's largest budget; darker is a higher return." : "One column a problem at each planner's largest budget: green is right, pale is wrong, black failed." + (document.querySelector(".trees") ? " Click a cell to open its tree below." : "");
}

drawCurves(); drawMatrices(); drawRows(); drawGroups(); drawMap();
