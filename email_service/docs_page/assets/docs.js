// Keeps the viewer in the reader's theme; it draws itself once it is defined.
"use strict";

const viewer = document.getElementById("docs");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

function followTheme() {
  viewer.setAttribute("theme", prefersDark.matches ? "dark" : "light");
  viewer.setAttribute("primary-color", prefersDark.matches ? "#a9a4ff" : "#4f46e5");
}

prefersDark.addEventListener("change", followTheme);
followTheme();
