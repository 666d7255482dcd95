// Reads one page as a JSON string from each line of its input, and writes what html-validate finds wrong with it as one
// line of JSON.
import { createInterface } from "node:readline";

import { HtmlValidate, StaticConfigLoader } from "html-validate";

// Outlook lays a page out with Word, which reads these attributes and not the styles that took their place. Elsewhere in a
// page, and on any other element, they are as wrong as ever.
const ofOldTables = (...names) => ({ attributes: Object.fromEntries(names.map((name) => [name, { deprecated: false }])) });

const rules = {
  "doctype-style": ["error", { style: "lowercase" }],
  "long-title": "off", // what a search engine cuts off; here it is the subject
  "no-conditional-comment": "off", // what only Outlook is to see
  "no-inline-style": "off", // many clients read no other
  "prefer-native-element": "off", // clients take out elements that they do not know, and keep roles
  "prefer-tbody": "off", // parsers add it, and every octet is sent a million times
};
const config = {
  root: true,
  extends: ["html-validate:recommended", "html-validate:document"],
  elements: [
    "html5",
    {
      table: ofOldTables("align", "bgcolor", "border", "cellpadding", "cellspacing", "width"),
      td: ofOldTables("align", "bgcolor", "height", "valign", "width"),
      th: ofOldTables("align", "bgcolor", "height", "valign", "width"),
    },
  ],
  rules,
};

const checker = new HtmlValidate(new StaticConfigLoader(config));
for await (const line of createInterface({ input: process.stdin })) {
  const report = await checker.validateString(JSON.parse(line));
  const found = report.results.flatMap((result) =>
    result.messages.map((each) => `line ${each.line}, column ${each.column}: ${each.message} (${each.ruleId})`),
  );
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
