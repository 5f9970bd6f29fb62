// Shows the value nearest to the pointer. Where scripts don't run, browsers show the same texts as titles.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

for (const svg of document.querySelectorAll("figure svg")) {
  const circles = svg.querySelectorAll(".spots circle");
  const spots = Array.from(circles, (circle) => {
    const text = circle.querySelector("title").textContent;
    circle.remove();
    return { x: circle.cx.baseVal.value, y: circle.cy.baseVal.value, text };
  });
  if (spots.length === 0) continue;
  const title = svg.querySelector(":scope > title");
  if (title) {
    svg.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  const mark = document.createElementNS(svg.namespaceURI, "circle");
  mark.setAttribute("class", "mark");
  mark.setAttribute("r", "70");

  const hide = () => {
    tip.hidden = true;
    mark.remove();
  };
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const units = svg.viewBox.baseVal.width / box.width;
    const distance = (spot) => Math.hypot(spot.x / units + box.left - event.clientX, spot.y / units + box.top - event.clientY);
    const nearest = spots.reduce((best, spot) => (distance(spot) < distance(best) ? spot : best));
    if (distance(nearest) > 40) return hide();
    mark.setAttribute("cx", nearest.x);
    mark.setAttribute("cy", nearest.y);
    svg.append(mark);
    tip.textContent = nearest.text;
    tip.hidden = false;
    const [x, y] = [nearest.x / units + box.left, nearest.y / units + box.top];
    const left = Math.max(4, Math.min(x + 14, document.documentElement.clientWidth - tip.offsetWidth - 4));
    const top = y - tip.offsetHeight - 14 < 0 ? y + 14 : y - tip.offsetHeight - 14;
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${top + window.scrollY}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}

// What is folded on the screen is read on paper.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.dataset.folded = "";
    details.open = true;
  }
});
window.addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-folded]")) {
    delete details.dataset.folded;
    details.open = false;
  }
});
