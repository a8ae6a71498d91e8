"use strict";

// Live pages: the socket says that something changed, htmx fetches the part again. Bursts become one fetch.
const RECONNECT_MS = 3000;
const BURST_MS = 250;
let stale = null;

function markStale() {
  stale ??= setTimeout(() => {
    stale = null;
    document.body.dispatchEvent(new CustomEvent("lumos:stale"));
  }, BURST_MS);
}

function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/pages`);
  socket.onmessage = markStale;
  socket.onclose = (event) => {
    if (event.code < 4400) setTimeout(() => { listen(); markStale(); }, RECONNECT_MS);
  };
}

function chartLabel(step, isLong) {
  const clock = { hour: "2-digit", minute: "2-digit" };
  const day = { day: "numeric", month: "short" };
  if (step === "day") return (at) => new Date(at).toLocaleDateString([], { ...day, timeZone: "UTC" });
  return (at) => new Date(at).toLocaleString([], isLong ? { ...day, ...clock } : clock);
}

function chartNumber(unit) {
  const style = unit ? { style: "unit", unit, unitDisplay: "narrow" } : {};
  const format = new Intl.NumberFormat([], { notation: "compact", ...style });
  return (value) => format.format(value);
}

function drawChart(canvas) {
  const data = JSON.parse(document.getElementById(canvas.dataset.chart).textContent);
  const style = getComputedStyle(document.body);
  const number = chartNumber(data.unit);
  const stacked = data.kind === "bar";
  Chart.getChart(canvas)?.destroy();
  new Chart(canvas, {
    type: data.kind,
    data: {
      labels: data.labels.map(chartLabel(data.step, data.labels.length > 24)),
      datasets: data.series.map(({ label, color, values }) => {
        const shade = style.getPropertyValue(`--tblr-${color}`).trim();
        return { label, data: values, backgroundColor: shade, borderColor: shade, pointRadius: 2 };
      }),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      color: "gray",
      plugins: { tooltip: { callbacks: { label: ({ dataset, raw }) => `${dataset.label}: ${number(raw)}` } } },
      scales: {
        x: { stacked, grid: { display: false }, ticks: { color: "gray", maxRotation: 0, autoSkip: true } },
        y: { stacked, beginAtZero: true, ticks: { precision: 0, color: "gray", callback: number }, grid: { color: "rgba(128, 128, 128, 0.25)" } },
      },
    },
  });
}

function prepare(root) {
  root.querySelectorAll("canvas[data-chart]").forEach(drawChart);
}

function addRow(name) {
  const total = document.getElementById(`id_${name}-TOTAL_FORMS`);
  const html = document.querySelector(`template[data-row-template="${name}"]`).innerHTML;
  const rows = document.querySelector(`[data-rows="${name}"]`);
  rows.insertAdjacentHTML("beforeend", html.replaceAll("__prefix__", total.value));
  total.value = Number(total.value) + 1;
  rows.lastElementChild.querySelector("input, select").focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-add-row], [data-theme-toggle]");
  if (!button) return;
  if (button.dataset.copy) {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    navigator.clipboard?.writeText(field.value);
    button.textContent = "Copied";
  } else if (button.dataset.addRow) {
    addRow(button.dataset.addRow);
  } else {
    const root = document.documentElement;
    root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
    localStorage.setItem("lumos-theme", root.dataset.bsTheme);
    prepare(document);
  }
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

document.addEventListener("htmx:afterSettle", (event) => prepare(event.target.parentElement ?? document));
prepare(document);
if (document.getElementById("live")) listen();
