// nodemailer's pool as a program: warms up, says that it is ready, and sends all letters of its job on the word "go".
// Keeps nothing: it is here for its speed.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Handlebars from 'handlebars';
import { createTransport } from 'nodemailer';

const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));
Handlebars.registerHelper('place', index => index + 1);
const [subject, html, text] = ['subject', 'html', 'text'].map(part => {
    // Only html is escaped, as in the service.
    const render = Handlebars.compile(job.template[part], { noEscape: part !== 'html' });
    return () => render({ ...job.variables, brand: job.brand });
});
const transport = createTransport({
    host: '127.0.0.1',
    port: job.port,
    secure: false,
    pool: true,
    maxConnections: job.connections,
    maxMessages: Infinity
});

async function send(first, count) {
    let next = first;
    async function lane() {
        while (next < first + count) {
            const number = next++;
            await transport.sendMail({
                from: job.sender,
                to: { name: `Reader ${number}`, address: `reader${number}@example.com` },
                subject: subject(),
                html: html(),
                text: text()
            });
        }
    }
    // Twice as many as there are connections, so that each finds its next message waiting.
    await Promise.all(Array.from({ length: 2 * job.connections }, lane));
}

await send(0, job.warmup);
console.log(JSON.stringify({ is_ready: true }));
for await (const word of createInterface({ input: process.stdin })) {
    await send(job.first, job.count);
    console.log(JSON.stringify({ said: word }));
}
transport.close();
