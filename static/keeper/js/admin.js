// What the admin has of Keeper's scripts: its forms outlive their session, and are not left unsaved.
import "./submit.js";
