// Reads one mail in base64 from each line of its input, and writes what postal-mime finds in it as one line of JSON.
import { createInterface } from "node:readline";

import PostalMime from "postal-mime";

for await (const line of createInterface({ input: process.stdin })) {
  const mail = await PostalMime.parse(Buffer.from(line, "base64"), { attachmentEncoding: "base64" });
  const found = {
    names: mail.headers.map((header) => header.key),
    values: mail.headers.map((header) => header.value),
    subject: mail.subject,
    from: mail.from,
    to: mail.to,
    cc: mail.cc,
    replyTo: mail.replyTo,
    messageId: mail.messageId,
    text: mail.text,
    html: mail.html,
    attachments: mail.attachments,
  };
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
